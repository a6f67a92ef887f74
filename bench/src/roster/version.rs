//! Which version of a server it is.

use std::{fs, process::Command};

use super::{Server, Version, build::root};

impl Server {
    /// Its version, as a table shows it.
    pub(crate) fn version(&self) -> String {
        match self.version {
            Version::Ours => revision(),
            Version::Locked(crate_name) => {
                let lock = fs::read_to_string(root().join("bench/peers/Cargo.lock"));
                let version = lock.ok().and_then(|lock| locked(&lock, crate_name));
                format!("crate {crate_name} {}", version.unwrap_or_else(unknown))
            }
            Version::Debian(package) => {
                let version = output(Command::new("dpkg-query").args(["-Wf${Version}", package]));
                format!("Debian's {package} {}", version.unwrap_or_else(unknown))
            }
        }
    }
}

/// The commit that is checked out.
fn revision() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(root());
    output(&mut git).unwrap_or_else(unknown)
}

/// What a tool prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version of a crate in the text of a `Cargo.lock`.
fn locked(lock: &str, crate_name: &str) -> Option<String> {
    let name = format!("name = \"{crate_name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

fn unknown() -> String {
    "of an unknown version".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_in_a_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n\n\
                    [[package]]\nname = \"ab\"\nversion = \"0.1.0\"\n";
        assert_eq!(locked(lock, "ab").as_deref(), Some("0.1.0"));
        assert_eq!(locked(lock, "b"), None);
    }
}
