//! A folder of files that the code makes.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// Where the vectors are.
pub(crate) const ROOT: &str = "proto/vectors";

/// The files of one folder: to be compared, or to be written.
pub(crate) struct Golden {
    folder: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Golden {
    pub(crate) fn new(folder: &str) -> Self {
        Self {
            folder: PathBuf::from(ROOT).join(folder),
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, name: String, content: &[u8]) {
        let twice = self.files.insert(name.clone(), content.to_vec());
        assert!(twice.is_none(), "{name} is made twice");
    }

    /// Compares the folder with the files, or makes it so when `TOWLINE_VECTORS` is `write`.
    pub(crate) fn settle(self) {
        if std::env::var("TOWLINE_VECTORS").is_ok_and(|mode| mode == "write") {
            fs::create_dir_all(&self.folder).unwrap();
            for stale in names(&self.folder).filter(|name| !self.files.contains_key(name)) {
                fs::remove_file(self.folder.join(stale)).unwrap();
            }
            for (name, content) in self.files {
                fs::write(self.folder.join(name), content).unwrap();
            }
            return;
        }
        for (name, content) in &self.files {
            let path = self.folder.join(name);
            let have = fs::read(&path)
                .unwrap_or_else(|error| panic!("{}: {error}; run `make vectors`", path.display()));
            assert!(
                have == *content,
                "{} differs from what the code writes; `make vectors` and look at the diff",
                path.display()
            );
        }
        for name in names(&self.folder) {
            let path = self.folder.join(&name);
            assert!(
                self.files.contains_key(&name),
                "{} is made by nothing; run `make vectors`",
                path.display()
            );
        }
    }
}

fn names(folder: &PathBuf) -> impl Iterator<Item = String> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make vectors`", folder.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
}
