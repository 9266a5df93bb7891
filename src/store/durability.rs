//! What a commit promises when it returns.

/// What a commit promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The group and every group before it survive the end of the process and of
    /// the machine. Nothing may be acknowledged on less.
    Flush,
    /// The group is seen by readers, and is lost by a crash before the next flush.
    Lazy,
}
