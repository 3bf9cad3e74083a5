//! How the lake's columns are stored: which are looked up, which skip files, which repeat too little for a dictionary.

use crate::activity::Column;

/// The partition column. Retention works on days of receipt, which senders cannot set.
pub(super) const PARTITION: Column = Column::ReceivedDate;

/// Rows of a file stand in this order: it halves the size, because what repeats stands together.
pub(super) const SORTED_BY: [Column; 4] = [Column::Source, Column::Action, Column::ActorId, Column::EventTime];

/// Ids that an investigation starts from. They get a bloom filter in each row group, and statistics in the log.
pub(super) const LOOKED_UP: [Column; 9] = [
    Column::EventUid,
    Column::ActorId,
    Column::CredentialId,
    Column::CorrelationId,
    Column::RequestId,
    Column::SessionId,
    Column::TargetId,
    Column::IssuedCredentialId,
    Column::OnBehalfOf,
];

/// Columns with statistics in the log: times, positions and look-up ids. Not `raw`, whose values sort by chance and
/// would carry evidence into the log.
pub(super) const WITH_STATISTICS: [Column; 14] = [
    Column::EventTime,
    Column::ReceivedTime,
    Column::InputTopic,
    Column::InputPartition,
    Column::InputOffset,
    Column::EventUid,
    Column::ActorId,
    Column::CredentialId,
    Column::CorrelationId,
    Column::RequestId,
    Column::SessionId,
    Column::TargetId,
    Column::IssuedCredentialId,
    Column::OnBehalfOf,
];

/// Columns whose values hardly repeat: a dictionary would be built, outgrow its limit and be thrown away.
pub(super) const WITHOUT_DICTIONARY: [Column; 7] = [
    Column::EventUid,
    Column::EventTime,
    Column::InputOffset,
    Column::Raw,
    Column::CorrelationId,
    Column::RequestId,
    Column::TraceId,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_looked_up_has_statistics_too() {
        assert!(LOOKED_UP.iter().all(|column| WITH_STATISTICS.contains(column)));
    }
}
