/** Most events that wait for a slow listener; then the oldest are lost. */
const MOST_WAITING = 1024;

/** Hands events to any number of listeners, each of which reads at its own pace. */
export class Broadcast<T> {
  readonly #listeners = new Set<(event: T | undefined) => void>();
  #over = false;

  send(event: T): void {
    for (const listener of this.#listeners) {
      listener(event);
    }
  }

  end(): void {
    this.#over = true;
    for (const listener of this.#listeners) {
      listener(undefined);
    }
  }

  /** Events from here on, until all are told or the signal is raised. */
  async *listen(signal?: AbortSignal): AsyncGenerator<T, void, void> {
    const waiting: T[] = [];
    let over = this.#over;
    let wake = (): void => {};
    const listener = (event: T | undefined): void => {
      if (event === undefined) {
        over = true;
      } else {
        if (waiting.length >= MOST_WAITING) {
          waiting.shift();
        }
        waiting.push(event);
      }
      wake();
    };
    const aborted = (): void => wake();
    this.#listeners.add(listener);
    signal?.addEventListener("abort", aborted);
    try {
      for (;;) {
        signal?.throwIfAborted();
        const event = waiting.shift();
        if (event !== undefined) {
          yield event;
        } else if (over) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#listeners.delete(listener);
      signal?.removeEventListener("abort", aborted);
    }
  }
}
