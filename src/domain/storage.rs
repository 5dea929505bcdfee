//! A storage: its kind and its health, and the health of a cluster.

use super::codes::codes;

/// What kind of place a storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Shared; connected to one or more clusters.
    Datastore,
    /// Belongs to one host of one cluster.
    Local,
}

codes!(Kind { Datastore = "datastore", Local = "local" });

impl Kind {
    /// The kind in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Datastore => "Datastore",
            Self::Local => "Local storage",
        }
    }

    /// The section of the console where storages of this kind stand.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Datastore => "datastores",
            Self::Local => "local-storages",
        }
    }

    /// The icon that stands for it.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Datastore => "datastore",
            Self::Local => "local-storage",
        }
    }
}

/// What a storage is doing, as the watcher last saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Reachable, writable, the right UUID.
    Healthy,
    /// Not so; the cause is recorded.
    Degraded,
    /// Taken away by an administrator; its records stay.
    Removed,
}

codes!(Health { Healthy = "healthy", Degraded = "degraded", Removed = "removed" });

impl Health {
    /// The health in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded => "Degraded",
            Self::Removed => "Removed",
        }
    }

    /// One of the five tones of the console.
    pub const fn tone(self) -> &'static str {
        match self {
            Self::Healthy => "good",
            Self::Degraded => "warn",
            Self::Removed => "idle",
        }
    }

    /// The icon whose shape tells the health without colour.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Healthy => "check",
            Self::Degraded => "warning",
            Self::Removed => "blocked",
        }
    }
}

/// The health of a cluster, from its hosts (PRODUCT.md section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterHealth {
    /// No hosts, or all connected.
    Healthy,
    /// Some connected.
    PartiallyUnhealthy,
    /// Hosts, but none connected.
    Unhealthy,
}

codes!(ClusterHealth { Healthy = "healthy", PartiallyUnhealthy = "partially_unhealthy", Unhealthy = "unhealthy" });

impl ClusterHealth {
    /// The health of a cluster with so many hosts, so many of them connected.
    pub const fn of(hosts: i64, connected: i64) -> Self {
        if hosts == connected {
            Self::Healthy
        } else if connected > 0 {
            Self::PartiallyUnhealthy
        } else {
            Self::Unhealthy
        }
    }

    /// The health in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::PartiallyUnhealthy => "Partially unhealthy",
            Self::Unhealthy => "Unhealthy",
        }
    }

    /// One of the five tones of the console.
    pub const fn tone(self) -> &'static str {
        match self {
            Self::Healthy => "good",
            Self::PartiallyUnhealthy => "warn",
            Self::Unhealthy => "bad",
        }
    }

    /// The icon whose shape tells the health without colour.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Healthy => "check",
            Self::PartiallyUnhealthy => "warning",
            Self::Unhealthy => "blocked",
        }
    }
}

/// Space kept free on every storage, so that file systems and manifests have room: 64 MiB.
pub const HEADROOM_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that can still be promised to an image, out of `free` bytes of which `promised` are spoken for.
pub const fn promisable(free: u64, promised: u64) -> u64 {
    free.saturating_sub(promised).saturating_sub(HEADROOM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_as_healthy_as_its_hosts() {
        let rows = [
            (0, 0, ClusterHealth::Healthy),
            (3, 3, ClusterHealth::Healthy),
            (3, 1, ClusterHealth::PartiallyUnhealthy),
            (3, 0, ClusterHealth::Unhealthy),
        ];
        for (hosts, connected, health) in rows {
            assert_eq!(ClusterHealth::of(hosts, connected), health);
        }
    }

    #[test]
    fn space_is_promised_once() {
        assert_eq!(promisable(HEADROOM_BYTES + 100, 40), 60);
        assert_eq!(promisable(HEADROOM_BYTES, 0), 0);
        assert_eq!(promisable(10, 50), 0);
    }
}
