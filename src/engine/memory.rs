//! How much memory the approximate index of an engine may take.

use std::fs;

use crate::error::{Error, Result};

/// A limit: bytes, or a share of the memory that is free when the index is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Memory {
    /// So many bytes.
    Bytes(usize),
    /// A share above 0 and below 1.
    Share(f64),
}

impl Memory {
    /// Reads a number: a share below 1, and bytes from 1 on.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number that is not above 0.
    pub fn parse(number: f64) -> Result<Self> {
        match number {
            share if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            bytes if bytes.is_finite() && bytes >= 1.0 => Ok(Self::Bytes(bytes as usize)),
            other => Err(Error::argument(format!(
                "memory {other}: give bytes, such as 1_000_000_000, or a share of what is free, such as 0.5"
            ))),
        }
    }

    /// The limit in bytes.
    ///
    /// # Errors
    /// [`Error::Argument`] for a share where the system does not tell how much is free.
    pub(super) fn bytes(self) -> Result<usize> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Share(share) => free().map(|free| (share * free as f64) as usize).ok_or_else(|| {
                Error::argument(format!(
                    "memory {share}: this system does not tell how much memory is free; give bytes, such as 1_000_000_000"
                ))
            }),
        }
    }
}

/// The memory that is free, of the machine and of the control group (a container), in bytes; none but on Linux.
fn free() -> Option<usize> {
    let lines = fs::read_to_string("/proc/meminfo").ok()?;
    let line = lines.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.saturating_mul(1024);
    let number = |name: &str| -> Option<usize> {
        fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    let group = number("memory.max").zip(number("memory.current")).map(|(most, now)| most.saturating_sub(now));
    Some(group.map_or(machine, |group| group.min(machine)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_bytes_or_a_share() {
        assert_eq!(Memory::parse(0.5).unwrap(), Memory::Share(0.5));
        assert_eq!(Memory::parse(2e9).unwrap().bytes().unwrap(), 2_000_000_000);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Memory::parse(bad).unwrap_err().to_string().contains("give bytes"), "{bad}");
        }
        if cfg!(target_os = "linux") {
            assert!(Memory::Share(0.5).bytes().unwrap() > 1 << 20);
        }
    }
}
