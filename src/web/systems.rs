//! The list of operating systems to choose from, in groups.

use crate::media::os_catalogue;

/// One system to choose.
pub struct SystemChoice {
    pub id: &'static str,
    pub name: &'static str,
    pub vcpu: u16,
    pub memory_mib: u32,
    pub disk_gib: u32,
    pub chosen: bool,
}

/// Systems of one family.
pub struct SystemGroup {
    pub words: String,
    pub systems: Vec<SystemChoice>,
}

/// The catalogue, with `chosen` marked; *Other* is not in it.
pub fn system_groups(chosen: &str) -> Vec<SystemGroup> {
    let mut groups: Vec<SystemGroup> = Vec::new();
    for system in os_catalogue::all() {
        let words = system.family.to_string();
        let choice = SystemChoice {
            id: system.id,
            name: system.name,
            vcpu: system.min_vcpu,
            memory_mib: system.min_memory_mib,
            disk_gib: system.min_disk_gib,
            chosen: system.id == chosen,
        };
        match groups.last_mut().filter(|group| group.words == words) {
            Some(group) => group.systems.push(choice),
            None => groups.push(SystemGroup { words, systems: vec![choice] }),
        }
    }
    groups
}
