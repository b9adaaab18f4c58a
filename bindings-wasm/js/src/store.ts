// Where a checkpoint is kept between visits.

/** Keeps one checkpoint. What it gives is believed, so it must be this client's own. */
export interface CheckpointStore {
  load(): Promise<Uint8Array | undefined>;
  save(checkpoint: Uint8Array): Promise<void>;
}

/** Keeps it in the browser's IndexedDB, under a name for the chain. */
export function indexedDbStore(name: string): CheckpointStore {
  const open = () => new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open("hotstuff2-sync", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("checkpoints");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const run = async <T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const database = await open();
    try {
      return await new Promise<T>((resolve, reject) => {
        const transaction = database.transaction("checkpoints", mode);
        const request = work(transaction.objectStore("checkpoints"));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onerror = () => reject(transaction.error);
        transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  };
  return {
    async load() {
      const found: unknown = await run("readonly", (store) => store.get(name) as IDBRequest<unknown>);
      return found instanceof Uint8Array ? found : undefined;
    },
    async save(checkpoint) {
      await run("readwrite", (store) => store.put(checkpoint, name));
    },
  };
}

/** Keeps it in memory: for tests, and for pages that want no storage. */
export function memoryStore(): CheckpointStore {
  let kept: Uint8Array | undefined;
  return {
    load: async () => kept,
    save: async (checkpoint) => {
      kept = checkpoint;
    },
  };
}
