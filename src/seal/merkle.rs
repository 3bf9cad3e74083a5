//! Merkle roots as RFC 6962 defines them (<https://www.rfc-editor.org/rfc/rfc6962#section-2.1>).
//!
//! One digest stands for any number of rows in their order, and a single row can be shown to be among them without
//! showing the others. Leaves come one after the other; what is held is a digest for each level of the tree.

use sha2::{Digest as _, Sha256};

use super::digest::Digest;

/// What stands before a leaf's bytes and before two nodes' digests, so that neither can pass for the other.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// A tree that grows to the right.
#[derive(Clone, Debug, Default)]
pub struct MerkleTree {
    /// Roots of full subtrees, the largest first.
    subtrees: Vec<Digest>,
    num_leaves: u64,
}

impl MerkleTree {
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        // Each one at the end of the count is a full subtree of that height.
        for _ in 0..self.num_leaves.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = join(left, node);
            }
        }
        self.subtrees.push(node);
        self.num_leaves += 1;
    }

    /// The root; that of no leaves is the digest of nothing.
    pub fn root(self) -> Digest {
        let joined = self.subtrees.into_iter().rev().reduce(|right, left| join(left, right));
        joined.unwrap_or_else(|| Digest::of(b""))
    }
}

/// The root over `leaves` in their order.
pub fn root_of(leaves: impl IntoIterator<Item = Digest>) -> Digest {
    let mut tree = MerkleTree::default();
    leaves.into_iter().for_each(|leaf| tree.push(leaf));
    tree.root()
}

/// Begins the hash of a leaf; what the leaf holds follows.
pub(super) fn leaf_hasher() -> Sha256 {
    Sha256::new_with_prefix([LEAF])
}

fn join(left: Digest, right: Digest) -> Digest {
    Digest(Sha256::new_with_prefix([NODE]).chain_update(left.0).chain_update(right.0).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(bytes: &[u8]) -> Digest {
        Digest(leaf_hasher().chain_update(bytes).finalize().into())
    }

    /// The definition, word for word.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                join(defined(&leaves[..split]), defined(&leaves[split..]))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let leaves: Vec<Digest> = (0..70_u8).map(|number| leaf(&[number])).collect();
        for num_leaves in 0..=leaves.len() {
            let leaves = &leaves[..num_leaves];
            assert_eq!(root_of(leaves.iter().copied()), defined(leaves), "{num_leaves} leaves");
        }
    }

    #[test]
    fn a_known_tree_has_its_known_root() {
        // The first test vectors of Certificate Transparency: an empty leaf, then one of a single zero.
        let empty = leaf(b"");
        assert_eq!(empty.to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let root = root_of([empty, leaf(&[0])]);
        assert_eq!(root.to_string(), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    }
}
