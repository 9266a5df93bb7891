//! Finds the installed RabbitMQ and makes a private, smaller view of it.
//!
//! RabbitMQ loads about a thousand modules at start and looks for each through
//! the directories of all sixty applications it is shipped with. A view that
//! holds only the applications a node needs, with one directory of links to all
//! of their modules in front, halves the processor time of a start. Nothing of
//! the installation is changed or copied.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where the server's own scripts, plugins and escripts are.
pub struct Installation {
    home: PathBuf,
}

impl Installation {
    /// Finds the installation: `WSB_RABBITMQ_HOME`, or where the Debian and
    /// generic packages put it.
    ///
    /// # Errors
    /// Says what to do when there is none.
    pub fn find() -> Result<Self, String> {
        if let Some(home) = std::env::var_os("WSB_RABBITMQ_HOME") {
            return Ok(Self { home: home.into() });
        }
        let mut homes: Vec<PathBuf> = ["/usr/lib/rabbitmq/lib", "/opt/rabbitmq", "/opt"]
            .iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .chain([PathBuf::from("/opt/rabbitmq")])
            .filter(|home| home.join("sbin/rabbitmq-server").is_file() && home.join("plugins").is_dir())
            .collect();
        homes.sort();
        homes.pop().map(|home| Self { home }).ok_or_else(|| {
            "no RabbitMQ server found under /usr/lib/rabbitmq/lib or /opt: run `make setup`, \
             or name a server of your own with WSB_AMQP_URI=amqp://user:password@host/vhost"
                .to_owned()
        })
    }

    /// Makes the view in `view` for `rabbit` and the named plugins, and returns
    /// the directory to put in front of the code path.
    pub fn make_view(&self, view: &Path, plugins: &[&str]) -> PathBuf {
        let modules = view.join("modules");
        fs::create_dir_all(view.join("plugins")).expect("the rig's directory is writable");
        fs::create_dir_all(&modules).expect("the rig's directory is writable");
        for part in ["sbin", "escript"] {
            symlink(self.home.join(part), view.join(part)).expect("the rig's directory is writable");
        }
        for (name, directory) in self.needed(plugins) {
            symlink(&directory, view.join("plugins").join(directory.file_name().unwrap_or(name.as_ref())))
                .expect("one link per application");
            for entry in fs::read_dir(directory.join("ebin")).expect("an application has an ebin directory") {
                let path = entry.expect("readable").path();
                if path.extension().is_some_and(|extension| extension == "beam") {
                    // Two applications with a module of the same name: the first
                    // one wins here as it does in a code path.
                    let _ = symlink(&path, modules.join(path.file_name().expect("a file has a name")));
                }
            }
        }
        modules
    }

    /// Everything that `rabbit` and the plugins depend on, directly or not.
    fn needed(&self, plugins: &[&str]) -> BTreeMap<String, PathBuf> {
        let shipped: BTreeMap<String, PathBuf> = fs::read_dir(self.home.join("plugins"))
            .expect("checked when the installation was found")
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?.split('-').next()?.to_owned();
                path.join("ebin").is_dir().then_some((name, path))
            })
            .collect();
        let mut open: Vec<String> = ["rabbit", "rabbitmq_prelaunch"].iter().chain(plugins).map(|name| (*name).to_owned()).collect();
        let mut needed = BTreeMap::new();
        while let Some(name) = open.pop() {
            let Some(directory) = shipped.get(&name) else {
                // Part of Erlang itself, or a plugin that this RabbitMQ lacks;
                // the latter the server reports by name.
                continue;
            };
            if needed.insert(name.clone(), directory.clone()).is_none() {
                let resource = fs::read_to_string(directory.join("ebin").join(format!("{name}.app"))).unwrap_or_default();
                open.extend(applications(&resource));
            }
        }
        needed
    }
}

/// The names in `{applications, [a, b]}` of an application resource file.
fn applications(resource: &str) -> Vec<String> {
    let Some((_, rest)) = resource.split_once("{applications") else { return Vec::new() };
    let Some((_, rest)) = rest.split_once('[') else { return Vec::new() };
    let Some((list, _)) = rest.split_once(']') else { return Vec::new() };
    list.split(',').map(|name| name.trim().trim_matches('\'').to_owned()).filter(|name| !name.is_empty()).collect()
}
