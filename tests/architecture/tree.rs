//! The files of the crate as modules, and which of them uses which.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Binding, Import, Source};

/// The crate's own name, by which its command knows it.
const LIBRARY: &str = "actix_responses";

/// The files of `src`, by their path below it.
pub(crate) struct Tree {
    sources: BTreeMap<String, Source>,
    /// The file of each module, by the module's path. The command's begins with `main`.
    files: BTreeMap<Vec<String>, String>,
    /// Every file that is reached, tests included.
    pub(crate) reached: BTreeSet<String>,
}

/// That one file uses what another defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Each arrow, with a path that makes it one.
pub(crate) type Arrows = BTreeMap<Arrow, String>;

impl Tree {
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let texts: BTreeMap<_, _> = texts.into_iter().collect();
        let mut tree = Self {
            sources: BTreeMap::new(),
            files: BTreeMap::new(),
            reached: BTreeSet::new(),
        };
        tree.add(&texts, Vec::new(), "lib.rs", false);
        tree.add(&texts, vec!["main".to_owned()], "main.rs", false);
        tree
    }

    /// Adds a file, and the modules that it declares.
    fn add(
        &mut self,
        texts: &BTreeMap<&str, &str>,
        module: Vec<String>,
        file: &str,
        is_test: bool,
    ) {
        let Some(text) = texts.get(file) else { return };
        let source = Source::read(text);
        self.reached.insert(file.to_owned());
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        let below = match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder,
            _ => file.trim_end_matches(".rs"),
        };
        for declared in &source.modules {
            let name = &declared.name;
            for path in [
                format!("{below}/{name}.rs"),
                format!("{below}/{name}/mod.rs"),
            ] {
                let module = [&module[..], std::slice::from_ref(name)].concat();
                let path = path.trim_start_matches('/');
                self.add(texts, module, path, is_test || declared.is_test);
            }
        }
        if !is_test {
            self.files.insert(module, file.to_owned());
            self.sources.insert(file.to_owned(), source);
        }
    }

    /// Which file uses what another defines: by an import, or by a path in its code. What a file only passes on
    /// (`pub use`) it does not use; who imports it from there uses the file that defines it.
    pub(crate) fn uses(&self) -> Arrows {
        self.arrows(false)
    }

    /// The same, and what each file passes on.
    pub(crate) fn uses_and_exports(&self) -> Arrows {
        self.arrows(true)
    }

    /// The files that name another crate, those of tests apart.
    pub(crate) fn users_of(&self, name: &str) -> Vec<&str> {
        let is_user = |(module, file): &(&Vec<String>, &String)| {
            let source = &self.sources[*file];
            let imported = source.imports.iter().map(|import| &import.path);
            let mut named = imported.chain(&source.paths).filter(|path| path[0] == name);
            named.any(|path| self.resolve(module, path, 0).is_none())
        };
        let users = self.files.iter().filter(is_user);
        users.map(|(_, file)| &**file).collect()
    }

    fn arrows(&self, with_exports: bool) -> Arrows {
        let mut arrows = Arrows::new();
        for (module, from) in &self.files {
            let source = &self.sources[from];
            let mut paths: Vec<Vec<String>> = source.paths.clone();
            for import in &source.imports {
                let is_used = with_exports
                    || !import.is_public
                    || matches!(&import.binding, Binding::Name(name) if source.words.contains(name));
                if is_used {
                    paths.push(import.path.clone());
                }
                if import.binding == Binding::All {
                    let words = source.words.iter();
                    paths.extend(
                        words.map(|word| [&import.path[..], std::slice::from_ref(word)].concat()),
                    );
                }
            }
            for path in paths {
                if let Some(to) = self.resolve(module, &path, 0).filter(|to| to != from) {
                    let from = from.clone();
                    arrows.entry(Arrow { from, to }).or_insert(path.join("::"));
                }
            }
        }
        arrows
    }

    /// The file that defines what a path names, seen from a module; none for what is of another crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<String> {
        // Imports that go in a circle name nothing.
        if depth > 20 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let is_command = module.first().is_some_and(|first| first == "main");
        match &**first {
            "crate" if is_command => self.find(&module[..1], rest, depth),
            "crate" => self.find(&[], rest, depth),
            "self" => self.find(module, rest, depth),
            "super" => {
                let (_, parent) = module.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.resolve(parent, rest, depth + 1),
                    _ => self.find(parent, rest, depth),
                }
            }
            LIBRARY if is_command => self.find(&[], rest, depth),
            _ => self.find_bound(module, path, depth),
        }
    }

    /// The file that defines what a path names below a module.
    fn find(&self, module: &[String], path: &[String], depth: usize) -> Option<String> {
        match path {
            [] => self.files.get(module).cloned(),
            _ => self
                .find_bound(module, path, depth)
                .or_else(|| self.files.get(module).cloned()),
        }
    }

    /// The same, where the path's first name is a module, an import or an item there.
    fn find_bound(&self, module: &[String], path: &[String], depth: usize) -> Option<String> {
        let (first, rest) = path.split_first()?;
        let file = self.files.get(module)?;
        let child = [module, std::slice::from_ref(first)].concat();
        if self.files.contains_key(&child) {
            return self.find(&child, rest, depth + 1);
        }
        let source = &self.sources[file];
        let bound = |import: &&Import| import.binding == Binding::Name(first.clone());
        if let Some(import) = source.imports.iter().find(bound) {
            // An import of that very path, such as `use http;`, is of another crate.
            let whole = [&import.path[..], rest].concat();
            return (whole != path)
                .then(|| self.resolve(module, &whole, depth + 1))
                .flatten();
        }
        if source.items.contains(first) {
            return Some(file.clone());
        }
        let all = source
            .imports
            .iter()
            .filter(|import| import.binding == Binding::All);
        all.filter_map(|import| {
            let target = self.module(module, &import.path)?;
            self.find_bound(&target, path, depth + 1)
        })
        .next()
    }

    /// The module that an absolute or relative path names, where it names one without a detour.
    fn module(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut module = from.to_vec();
        for part in path {
            match &**part {
                "crate" => module.truncate(usize::from(
                    from.first().is_some_and(|first| first == "main"),
                )),
                "self" => {}
                "super" => drop(module.pop()?),
                name => module.push(name.to_owned()),
            }
        }
        self.files.contains_key(&module).then_some(module)
    }
}
