//! Archives with equal bytes wherever they are made: files in order of their names, without owners and times.

use std::fs;
use std::path::{Path, PathBuf};

const BLOCK: usize = 512;
/// Bytes for a name, and for the folder in front of it.
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// A tar archive (POSIX ustar) of everything below `folder`, whose own name is in front of each.
pub(crate) fn of(folder: &Path) -> Result<Vec<u8>, String> {
    let base = folder.parent().unwrap_or(folder);
    let mut entries = Vec::new();
    collect(folder, &mut entries)?;
    let mut named: Vec<(String, PathBuf)> = Vec::new();
    for path in entries {
        let name = path.strip_prefix(base).unwrap_or(&path).to_str().ok_or("a name is no UTF-8")?.replace('\\', "/");
        named.push((name, path));
    }
    named.sort();
    let mut archive = Vec::new();
    for (name, path) in &named {
        append(&mut archive, name, path)?;
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn collect(path: &Path, entries: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&entry.path(), entries)?;
        } else {
            entries.push(entry.path());
        }
    }
    Ok(())
}

fn append(archive: &mut Vec<u8>, name: &str, path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let link = fs::read_link(path).ok();
    let content = if link.is_some() { Vec::new() } else { fs::read(path).map_err(failed)? };
    let link = link.map(|to| to.to_string_lossy().into_owned());
    archive.extend_from_slice(&header(name, content.len(), link.as_deref())?);
    archive.extend_from_slice(&content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

/// The block in front of a file or a symbolic link: for everybody to read, of nobody, made at no time.
fn header(name: &str, size: usize, link: Option<&str>) -> Result<[u8; BLOCK], String> {
    let (prefix, name) = split(name).ok_or_else(|| format!("`{name}` is too long a name for an archive"))?;
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, if link.is_some() { b"2" } else { b"0" });
    if let Some(to) = link {
        if to.len() > NAME_BYTES {
            return Err(format!("`{to}` is too long a name for an archive"));
        }
        put(157, to.as_bytes());
    }
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// A name in two parts that fit, or none.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= NAME_BYTES {
        return Some(("", name));
    }
    let at = name.match_indices('/').map(|(at, _)| at).find(|at| name.len() - at - 1 <= NAME_BYTES)?;
    (at <= PREFIX_BYTES).then(|| (&name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    #[test]
    fn an_archive_is_the_same_again_and_tar_reads_it() {
        let folder = std::env::temp_dir().join(format!("hs2-tar-{}", std::process::id()));
        let long = format!("{}/{}", "a-folder-with-a-long-name".repeat(4), "file".repeat(20));
        let mut archives = Vec::new();
        for (round, order) in [["b/c", "a", &long], [&long, "a", "b/c"]].into_iter().enumerate() {
            let below = folder.join(round.to_string()).join("top");
            for name in order {
                let place = below.join(name);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(&place, name.repeat(300)).unwrap();
            }
            #[cfg(unix)]
            std::os::unix::fs::symlink("a", below.join("link")).unwrap();
            archives.push(of(&below).unwrap());
        }
        assert_eq!(archives[0], archives[1]);
        let (archive, out) = (folder.join("x.tar"), folder.join("out"));
        fs::create_dir_all(&out).unwrap();
        fs::write(&archive, &archives[0]).unwrap();
        command::output(std::process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&out)).unwrap();
        for name in ["a", "b/c", &long] {
            assert_eq!(fs::read_to_string(out.join("top").join(name)).unwrap(), name.repeat(300));
        }
        #[cfg(unix)]
        assert_eq!(fs::read_link(out.join("top/link")).unwrap(), Path::new("a"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_name_that_does_not_fit_is_an_error() {
        assert!(header(&"x".repeat(101), 0, None).is_err());
        assert!(header(&format!("{}/x", "y".repeat(156)), 0, None).is_err());
        assert_eq!(split("a/b"), Some(("", "a/b")));
    }
}
