-- What is known of the actors of each source's events, by what justified their type.
SELECT
    source,
    actor_type_basis                                    AS basis,
    count(*)                                            AS num_events,
    count(*) FILTER (WHERE actor_type <> 'unknown')     AS num_known,
    count(actor_owner)                                  AS num_with_owner,
    count(credential_id)                                AS num_with_credential_id,
    count(correlation_id)                               AS num_with_correlation_id,
    count(*) FILTER (WHERE action_verb = 'other')       AS num_with_unknown_operation
FROM activities
-- Records from which no event came are no events.
WHERE status IN ('mapped', 'partial', 'unmapped')
GROUP BY source, actor_type_basis
ORDER BY source, actor_type_basis
