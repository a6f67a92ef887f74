//! Building the servers, all for the same processor.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::ValueEnum;

use super::{Made, Server};

/// Where the servers are built.
#[derive(Debug)]
pub(crate) struct Workshop {
    cpu: Cpu,
    /// The folder that the programs are put into.
    target: PathBuf,
}

/// The processor to build for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
pub(crate) enum Cpu {
    /// The one here.
    #[value(name = "native")]
    #[serde(rename = "native")]
    Native,
    /// Any with AVX2, and none of what valgrind does not know.
    #[value(name = "x86-64-v3")]
    #[serde(rename = "x86-64-v3")]
    Avx2,
}

impl Workshop {
    /// Beside the folder that this program was built into.
    pub(crate) fn new(cpu: Cpu) -> io::Result<Self> {
        let program = env::current_exe()?;
        let target = program.ancestors().nth(2).unwrap_or(Path::new("target"));
        Ok(Self { cpu, target: target.join("peers").join(cpu.to_string()) })
    }

    /// Builds a server, unless nothing has changed since it was, and says where its program is.
    ///
    /// # Errors
    ///
    /// What the tools say when it cannot be built, shortened to their last words.
    pub(crate) fn build(&self, server: &Server) -> io::Result<PathBuf> {
        let release = self.target.join("release");
        fs::create_dir_all(&release)?;
        match server.made {
            Made::Floor => env::current_exe(),
            Made::Example(name) => {
                let package = ["--package", "throng-examples", "--example", name];
                complete(self.cargo(&root(), &package))?;
                Ok(release.join("examples").join(name))
            }
            Made::Crate(name) => {
                let package = format!("{name}-peer");
                complete(self.cargo(&root().join("bench/peers"), &["--package", &package]))?;
                Ok(release.join(name))
            }
            Made::Script(folder) | Made::Go(folder) => {
                let folder = root().join("bench/peers").join(folder);
                let program = release.join(server.id);
                if is_newer(&program, &folder)? {
                    return Ok(program);
                }
                let mut script = Command::new(folder.join("build"));
                script.arg(&program).arg(self.cpu.to_string());
                complete(script)?;
                Ok(program)
            }
        }
    }

    /// `cargo build` in the workspace at `workspace`, for our processor, into our folder.
    fn cargo(&self, workspace: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--locked", "--quiet"]).args(arguments);
        command.arg("--manifest-path").arg(workspace.join("Cargo.toml"));
        command.arg("--target-dir").arg(&self.target);
        command.env("RUSTFLAGS", format!("-C target-cpu={}", self.cpu));
        command
    }
}

/// The checkout that this program was built from.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Whether a program is there, and newer than all that is in `folder`.
fn is_newer(program: &Path, folder: &Path) -> io::Result<bool> {
    let Ok(built) = fs::metadata(program).and_then(|metadata| metadata.modified()) else {
        return Ok(false);
    };
    for entry in fs::read_dir(folder)? {
        if entry?.metadata()?.modified()? >= built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs a tool to its end.
fn complete(mut command: Command) -> io::Result<()> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run {tool} to build it: {error}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{tool} failed: {}", last_words(&errors))))
}

/// The last lines that are not empty, in one.
fn last_words(text: &str) -> String {
    let mut lines: Vec<_> =
        text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.truncate(LAST_WORDS);
    lines.reverse();
    lines.join("; ")
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Avx2 => "x86-64-v3",
        })
    }
}

const LAST_WORDS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_is_quoted() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf 'one\ntwo\n\nthree\n four\n' >&2; exit 1"]);
        let error = complete(shell).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: two; three; four");
        let error = complete(Command::new("/nowhere/tool")).unwrap_err().to_string();
        assert!(error.starts_with("cannot run /nowhere/tool to build it"), "{error}");
    }

    #[test]
    fn the_root_has_the_peers() {
        assert!(root().join("bench/peers/Cargo.lock").is_file());
    }
}
