//! Our own short catalogue of operating systems: what an image may be said to install, and the least machine that it needs.
//!
//! The figures are the publishers' minimum for *installing* from the medium onto an empty disk, as of 2026: text mode or the smallest
//! installation where there is a choice, the desktop where the entry says so, "Desktop Experience" for Windows Server. Where a
//! publisher states none (Arch, Void, OpenBSD, ...), it is the smallest usual size in which the installer finishes. Gigabytes of the
//! publishers are taken as binary ones, and rounded up. A disk of 0 means that the system runs from its medium or from memory.
//!
//! It is written by hand and not taken from osinfo-db, whose data are under the GPL and in parts older than what people install.

use std::fmt;

/// An operating system that an image can install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatingSystem {
    /// A stable slug, as "debian-13": stored, and never given to another system.
    pub id: &'static str,
    /// The name to show, unique.
    pub name: &'static str,
    pub family: Family,
    /// Virtual processors, at least 1.
    pub min_vcpu: u16,
    /// Memory in MiB.
    pub min_memory_mib: u32,
    /// Disk in GiB; 0 where none is needed.
    pub min_disk_gib: u32,
}

/// The groups of the list, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Debian,
    Ubuntu,
    RedHat,
    Suse,
    OtherLinux,
    Bsd,
    Illumos,
    Windows,
    Appliance,
    Tools,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debian => "Debian and relatives",
            Self::Ubuntu => "Ubuntu and relatives",
            Self::RedHat => "Fedora, Red Hat and relatives",
            Self::Suse => "SUSE and openSUSE",
            Self::OtherLinux => "Other Linux",
            Self::Bsd => "BSD",
            Self::Illumos => "illumos",
            Self::Windows => "Windows",
            Self::Appliance => "Appliances and hypervisors",
            Self::Tools => "Rescue and tools",
        })
    }
}

/// What stands for every system that is not in the catalogue; no entry has this id.
pub const OTHER: &str = "other";

/// Every system, by family and then by name, numbers in names by their value.
pub fn all() -> &'static [OperatingSystem] {
    SYSTEMS
}

/// The system with this id.
pub fn find(id: &str) -> Option<&'static OperatingSystem> {
    SYSTEMS.iter().find(|system| system.id == id)
}

/// Whether an image can be said to hold this: a system of the catalogue, or [`OTHER`].
pub fn is_choice(id: &str) -> bool {
    id == OTHER || find(id).is_some()
}

/// One line of the table: processors, MiB of memory, GiB of disk.
const fn os(
    family: Family,
    id: &'static str,
    name: &'static str,
    (min_vcpu, min_memory_mib, min_disk_gib): (u16, u32, u32),
) -> OperatingSystem {
    OperatingSystem { id, name, family, min_vcpu, min_memory_mib, min_disk_gib }
}

use Family::{Appliance, Bsd, Debian, Illumos, OtherLinux, RedHat, Suse, Tools, Ubuntu, Windows};

const SYSTEMS: &[OperatingSystem] = &[
    os(Debian, "debian-11", "Debian 11 (bullseye)", (1, 256, 2)),
    os(Debian, "debian-12", "Debian 12 (bookworm)", (1, 512, 4)),
    os(Debian, "debian-13", "Debian 13 (trixie)", (1, 512, 4)),
    os(Debian, "debian-testing", "Debian testing", (1, 1024, 4)),
    os(Debian, "devuan-5", "Devuan 5 (Daedalus)", (1, 512, 4)),
    os(Debian, "devuan-6", "Devuan 6 (Excalibur)", (1, 512, 4)),
    os(Debian, "kali", "Kali Linux", (1, 2048, 20)),
    os(Debian, "lmde-7", "Linux Mint Debian Edition 7", (1, 2048, 20)),
    os(Ubuntu, "linux-mint-21", "Linux Mint 21", (1, 2048, 20)),
    os(Ubuntu, "linux-mint-22", "Linux Mint 22", (1, 2048, 20)),
    os(Ubuntu, "pop-os-24.04", "Pop!_OS 24.04 LTS", (1, 4096, 16)),
    os(Ubuntu, "ubuntu-22.04-desktop", "Ubuntu 22.04 LTS Desktop", (2, 4096, 25)),
    os(Ubuntu, "ubuntu-22.04-server", "Ubuntu 22.04 LTS Server", (1, 1024, 3)),
    os(Ubuntu, "ubuntu-24.04-desktop", "Ubuntu 24.04 LTS Desktop", (2, 4096, 25)),
    os(Ubuntu, "ubuntu-24.04-server", "Ubuntu 24.04 LTS Server", (1, 1536, 5)),
    os(Ubuntu, "ubuntu-26.04-desktop", "Ubuntu 26.04 LTS Desktop", (2, 6144, 25)),
    os(Ubuntu, "ubuntu-26.04-server", "Ubuntu 26.04 LTS Server", (1, 1536, 5)),
    // Of Red Hat's figures those for installing from local media; from the network it needs twice the memory.
    os(RedHat, "almalinux-8", "AlmaLinux 8", (1, 1536, 10)),
    os(RedHat, "almalinux-9", "AlmaLinux 9", (1, 1536, 10)),
    os(RedHat, "almalinux-10", "AlmaLinux 10", (1, 2048, 10)),
    os(RedHat, "centos-stream-9", "CentOS Stream 9", (1, 1536, 10)),
    os(RedHat, "centos-stream-10", "CentOS Stream 10", (1, 2048, 10)),
    os(RedHat, "fedora-42-server", "Fedora 42 Server", (1, 2048, 15)),
    os(RedHat, "fedora-42-workstation", "Fedora 42 Workstation", (2, 2048, 20)),
    os(RedHat, "fedora-43-server", "Fedora 43 Server", (1, 2048, 15)),
    os(RedHat, "fedora-43-workstation", "Fedora 43 Workstation", (2, 2048, 20)),
    os(RedHat, "fedora-44-server", "Fedora 44 Server", (1, 2048, 15)),
    os(RedHat, "fedora-44-workstation", "Fedora 44 Workstation", (2, 2048, 20)),
    os(RedHat, "oracle-linux-8", "Oracle Linux 8", (1, 1536, 10)),
    os(RedHat, "oracle-linux-9", "Oracle Linux 9", (1, 1536, 10)),
    os(RedHat, "oracle-linux-10", "Oracle Linux 10", (1, 2048, 10)),
    os(RedHat, "rhel-8", "Red Hat Enterprise Linux 8", (1, 1536, 10)),
    os(RedHat, "rhel-9", "Red Hat Enterprise Linux 9", (1, 1536, 10)),
    os(RedHat, "rhel-10", "Red Hat Enterprise Linux 10", (1, 2048, 10)),
    os(RedHat, "rocky-8", "Rocky Linux 8", (1, 2048, 10)),
    os(RedHat, "rocky-9", "Rocky Linux 9", (1, 2048, 10)),
    os(RedHat, "rocky-10", "Rocky Linux 10", (1, 2048, 10)),
    os(Suse, "opensuse-leap-15.6", "openSUSE Leap 15.6", (1, 1024, 10)),
    os(Suse, "opensuse-leap-16.0", "openSUSE Leap 16.0", (1, 2048, 10)),
    os(Suse, "opensuse-tumbleweed", "openSUSE Tumbleweed", (1, 1024, 10)),
    os(Suse, "sles-15-sp6", "SUSE Linux Enterprise Server 15 SP6", (1, 1024, 10)),
    os(Suse, "sles-15-sp7", "SUSE Linux Enterprise Server 15 SP7", (1, 1024, 10)),
    os(Suse, "sles-16.0", "SUSE Linux Enterprise Server 16.0", (1, 2048, 12)),
    os(OtherLinux, "alpine-3.20", "Alpine Linux 3.20", (1, 256, 1)),
    os(OtherLinux, "alpine-3.21", "Alpine Linux 3.21", (1, 256, 1)),
    os(OtherLinux, "alpine-3.22", "Alpine Linux 3.22", (1, 256, 1)),
    os(OtherLinux, "alpine-3.23", "Alpine Linux 3.23", (1, 256, 1)),
    os(OtherLinux, "arch", "Arch Linux", (1, 1024, 2)),
    os(OtherLinux, "fedora-coreos", "Fedora CoreOS", (1, 4096, 10)),
    os(OtherLinux, "flatcar", "Flatcar Container Linux", (1, 3072, 10)),
    os(OtherLinux, "gentoo", "Gentoo Linux", (1, 2048, 8)),
    os(OtherLinux, "nixos-25.05", "NixOS 25.05", (1, 2048, 8)),
    os(OtherLinux, "nixos-25.11", "NixOS 25.11", (1, 2048, 8)),
    os(OtherLinux, "slackware-15.0", "Slackware 15.0", (1, 1024, 20)),
    // Control plane nodes need two processors and 2 GiB; these are the figures of a worker.
    os(OtherLinux, "talos", "Talos Linux", (1, 1024, 10)),
    os(OtherLinux, "void", "Void Linux", (1, 256, 1)),
    os(Bsd, "dragonfly-6.4", "DragonFly BSD 6.4", (1, 1024, 10)),
    os(Bsd, "freebsd-13", "FreeBSD 13", (1, 512, 8)),
    os(Bsd, "freebsd-14", "FreeBSD 14", (1, 512, 8)),
    os(Bsd, "freebsd-15", "FreeBSD 15", (1, 512, 8)),
    os(Bsd, "ghostbsd", "GhostBSD", (2, 4096, 15)),
    os(Bsd, "netbsd-9", "NetBSD 9", (1, 256, 4)),
    os(Bsd, "netbsd-10", "NetBSD 10", (1, 256, 4)),
    os(Bsd, "openbsd-7.7", "OpenBSD 7.7", (1, 512, 8)),
    os(Bsd, "openbsd-7.8", "OpenBSD 7.8", (1, 512, 8)),
    os(Illumos, "omnios", "OmniOS", (1, 2048, 8)),
    os(Illumos, "openindiana", "OpenIndiana", (1, 2048, 20)),
    os(Illumos, "smartos", "SmartOS", (1, 2048, 0)),
    os(Windows, "reactos", "ReactOS 0.4", (1, 256, 2)),
    os(Windows, "windows-10", "Windows 10", (1, 2048, 32)),
    os(Windows, "windows-11", "Windows 11", (2, 4096, 64)),
    os(Windows, "windows-server-2016", "Windows Server 2016", (1, 2048, 32)),
    os(Windows, "windows-server-2019", "Windows Server 2019", (1, 2048, 32)),
    os(Windows, "windows-server-2022", "Windows Server 2022", (1, 2048, 32)),
    os(Windows, "windows-server-2025", "Windows Server 2025", (1, 2048, 32)),
    os(Appliance, "harvester", "Harvester", (8, 32_768, 250)),
    os(Appliance, "opnsense", "OPNsense", (2, 2048, 4)),
    os(Appliance, "pfsense", "pfSense", (1, 1024, 8)),
    os(Appliance, "proxmox-backup-3", "Proxmox Backup Server 3", (1, 2048, 8)),
    os(Appliance, "proxmox-backup-4", "Proxmox Backup Server 4", (1, 2048, 8)),
    os(Appliance, "proxmox-ve-8", "Proxmox VE 8", (1, 1024, 8)),
    os(Appliance, "proxmox-ve-9", "Proxmox VE 9", (1, 2048, 8)),
    os(Appliance, "truenas", "TrueNAS", (2, 8192, 16)),
    os(Appliance, "vyos", "VyOS", (1, 1024, 4)),
    os(Appliance, "xcp-ng-8.3", "XCP-ng 8.3", (1, 4096, 46)),
    os(Tools, "clonezilla", "Clonezilla Live", (1, 512, 0)),
    os(Tools, "gparted", "GParted Live", (1, 1024, 0)),
    os(Tools, "grub-rescue", "GRUB rescue", (1, 128, 0)),
    os(Tools, "ipxe", "iPXE", (1, 128, 0)),
    os(Tools, "memtest86plus", "Memtest86+", (1, 64, 0)),
    os(Tools, "netboot-xyz", "netboot.xyz", (1, 128, 0)),
    os(Tools, "systemrescue", "SystemRescue", (1, 2048, 0)),
    os(Tools, "virtio-win", "VirtIO drivers for Windows", (1, 64, 0)),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A name as people sort it: without case, and with numbers by value.
    fn natural(name: &str) -> Vec<(u32, String)> {
        let mut parts = vec![(0, String::new())];
        let mut in_number = false;
        for character in name.to_lowercase().chars() {
            let Some((number, text)) = parts.last_mut() else { continue };
            match character.to_digit(10) {
                Some(digit) if in_number => *number = *number * 10 + digit,
                Some(digit) => parts.push((digit, String::new())),
                None => text.push(character),
            }
            in_number = character.is_ascii_digit();
        }
        parts
    }

    #[test]
    fn the_catalogue_is_sorted_by_family_and_then_by_name() {
        let key = |system: &OperatingSystem| (system.family, natural(system.name));
        for pair in all().windows(2) {
            assert!(key(&pair[0]) < key(&pair[1]), "{} comes before {}", pair[0].name, pair[1].name);
        }
    }

    #[test]
    fn ids_and_names_are_unique_and_none_is_the_other() {
        assert!(all().len() >= 60);
        assert_eq!(all().iter().map(|system| system.id).collect::<BTreeSet<_>>().len(), all().len());
        assert_eq!(all().iter().map(|system| system.name.to_lowercase()).collect::<BTreeSet<_>>().len(), all().len());
        assert!(find(OTHER).is_none());
        for system in all() {
            assert_eq!(find(system.id), Some(system));
        }
    }

    #[test]
    fn an_id_is_a_slug() {
        for system in all() {
            let is_slug = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            assert!(system.id.bytes().all(is_slug) && system.id.len() <= 40, "{}", system.id);
        }
    }

    #[test]
    fn requirements_are_sane() {
        for system in all() {
            assert!((1..=8).contains(&system.min_vcpu), "{}", system.name);
            assert!((64..=32_768).contains(&system.min_memory_mib), "{}", system.name);
            assert!(system.min_disk_gib <= 256, "{}", system.name);
        }
    }
}
