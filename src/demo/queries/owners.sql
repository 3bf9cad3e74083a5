-- For how many activities somebody is known who answers for the actor, and who said so.
SELECT
  actor_class,
  count(*),
  count(actor_owner),
  count(*) FILTER (WHERE owner_basis = 'registry'),
  count(*) FILTER (WHERE owner_basis = 'event'),
  count(*) FILTER (WHERE policy_state IN ('review_overdue', 'expired', 'quarantined', 'retired'))
FROM activities
WHERE status IN ('mapped', 'partial') AND actor_class IN ('human', 'nonhuman')
GROUP BY actor_class
ORDER BY actor_class DESC
