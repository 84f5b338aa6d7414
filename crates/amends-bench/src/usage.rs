//! What the kernel says about processes and disks.

use anyhow::Context;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Kernel ticks per second in `/proc`; every Linux has a hundred.
const TICKS: f64 = 100.0;

/// What servers and their store have used since they began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of processor time of the servers, their own and the kernel's on their behalf.
    pub cpu_s: f64,
    /// The same of the database, where it is a process of its own.
    pub database_cpu_s: f64,
    /// The most memory that the servers had, each at its worst.
    pub peak_mib: f64,
    /// The memory that the servers have.
    pub resident_mib: f64,
    /// Bytes that the servers caused to be written to the disk, and that the database wrote to its files.
    pub written: u64,
    /// Flushes of the disk, whoever caused them.
    pub flushes: u64,
}

/// What a process has used since it began.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Seconds of processor time.
    pub cpu_s: f64,
    /// The same of its children that have ended.
    pub ended_children_cpu_s: f64,
    /// The most memory that it had.
    pub peak_mib: f64,
    /// The memory that it has.
    pub resident_mib: f64,
    /// Bytes that it and its children that have ended caused to be written to the disk. Where the kernel keeps a file in
    /// large pieces, each counts whole, however little of it was written.
    pub written_to_disk: u64,
    /// Bytes that the same have written to files; what was sent to sockets is none of it.
    pub written_to_files: u64,
}

impl Process {
    /// Looks at a process.
    pub fn look(id: u32) -> anyhow::Result<Process> {
        let file = |name: &str| -> anyhow::Result<String> {
            let path = format!("/proc/{id}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
        };
        // The command's name may have spaces in it and is in brackets.
        let stat = file("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("the name of a process is in brackets")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let seconds =
            |user: usize| anyhow::Ok((fields[user].parse::<f64>()? + fields[user + 1].parse::<f64>()?) / TICKS);
        let (status, io) = (file("status")?, file("io")?);
        Ok(Process {
            cpu_s: seconds(11)?,
            ended_children_cpu_s: seconds(13)?,
            peak_mib: number_after(&status, "VmHWM:")? as f64 / 1024.0,
            resident_mib: number_after(&status, "VmRSS:")? as f64 / 1024.0,
            written_to_disk: number_after(&io, "write_bytes:")?,
            written_to_files: number_after(&io, "wchar:")?,
        })
    }

    /// Looks at the children of a process. One that ends meanwhile is left out.
    pub fn look_at_children(id: u32) -> anyhow::Result<Vec<Process>> {
        let path = format!("/proc/{id}/task/{id}/children");
        let children = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
        let looked = children.split_whitespace().filter_map(|child| Process::look(child.parse().ok()?).ok());
        Ok(looked.collect())
    }
}

/// The disk that a folder lies on.
pub struct Disk {
    statistics: PathBuf,
}

impl Disk {
    /// The disk of this folder.
    pub fn of(folder: &Path) -> anyhow::Result<Disk> {
        let device = std::fs::metadata(folder)?.dev();
        let major = ((device >> 32) & 0xffff_f000) | ((device >> 8) & 0xfff);
        let minor = ((device >> 12) & 0xffff_ff00) | (device & 0xff);
        Ok(Disk { statistics: format!("/sys/dev/block/{major}:{minor}/stat").into() })
    }

    /// How often it was flushed since the machine was started; nothing on what is no disk.
    pub fn flushes(&self) -> anyhow::Result<u64> {
        let Ok(text) = std::fs::read_to_string(&self.statistics) else { return Ok(0) };
        text.split_whitespace().nth(15).map_or(Ok(0), |field| Ok(field.parse()?))
    }
}

fn number_after(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("the kernel tells {name}"))?;
    Ok(line.split_whitespace().nth(1).context("a number follows")?.parse()?)
}
