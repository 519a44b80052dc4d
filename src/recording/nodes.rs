//! NUMA nodes: which CPUs lie in which, as the recording's header says.
//!
//! `HEADER_NUMA_TOPOLOGY`, `tools/perf/util/header.c`, `write_numa_topology`. `HEADER_MEM_TOPOLOGY` names
//! nodes too, but of memory only: it says nothing of CPUs.

use super::cursor::{ByteOrder, Cursor};
use super::features::string;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// A node with its CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub number: u32,
    pub total_kb: u64,
    pub free_kb: u64,
    pub cpus: CpuList,
}

/// Runs of CPUs, first and last of each, in the order of the header: `0-3,8`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct CpuList(pub Vec<(u32, u32)>);

impl CpuList {
    /// What is no number or run of numbers is left out.
    pub fn parse(text: &str) -> CpuList {
        let run = |run: &str| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        CpuList(text.split(',').filter_map(run).collect())
    }

    pub fn has(&self, cpu: u32) -> bool {
        let mut runs = self.0.iter();
        runs.any(|&(first, last)| (first..=last).contains(&cpu))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl From<String> for CpuList {
    fn from(text: String) -> CpuList {
        CpuList::parse(&text)
    }
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> String {
        list.to_string()
    }
}

/// The nodes of `HEADER_NUMA_TOPOLOGY`. Stops where the section breaks off.
pub fn nodes(section: &[u8], order: ByteOrder) -> Vec<Node> {
    let mut at = Cursor::new(section, order);
    let count = at.u32().unwrap_or(0);
    let node = |_| {
        Some(Node {
            number: at.u32()?,
            total_kb: at.u64()?,
            free_kb: at.u64()?,
            cpus: CpuList::parse(&string(&mut at)?),
        })
    };
    (0..count).map_while(node).collect()
}

/// The node that `cpu` lies in; `None` where the recording does not say.
pub fn node_of(nodes: &[Node], cpu: u32) -> Option<u32> {
    let node = nodes.iter().find(|node| node.cpus.has(cpu))?;
    Some(node.number)
}

/// The nodes that these CPUs lie in; `None` where the recording does not say it of all of them.
pub fn nodes_of(nodes: &[Node], cpus: impl IntoIterator<Item = u32>) -> Option<BTreeSet<u32>> {
    cpus.into_iter().map(|cpu| node_of(nodes, cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_is_read_and_written_as_the_kernel_does() {
        let list = CpuList::parse("0-3,8,10-11");
        assert_eq!(list.0, [(0, 3), (8, 8), (10, 11)]);
        assert_eq!(list.to_string(), "0-3,8,10-11");
        assert!(list.has(3) && list.has(8) && !list.has(9) && !list.has(4));
        // A node without CPUs has an empty list.
        assert_eq!(CpuList::parse(""), CpuList::default());
        assert_eq!(CpuList::parse("x,1-,4"), CpuList(vec![(4, 4)]));
    }

    #[test]
    fn nodes_of_cpus_are_told_of_all_or_of_none() {
        let node = |number, cpus| Node {
            number,
            cpus: CpuList::parse(cpus),
            ..Node::default()
        };
        let nodes = [node(0, "0-1"), node(7, "2-3")];
        assert_eq!(nodes_of(&nodes, [0, 1]), Some([0].into()));
        assert_eq!(nodes_of(&nodes, [1, 3]), Some([0, 7].into()));
        assert_eq!(nodes_of(&nodes, [1, 4]), None);
        assert_eq!(nodes_of(&[], [0]), None);
    }
}
