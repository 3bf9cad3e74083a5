-- Activities without an owner, each with the reason. The platform's own doings need none in the organisation.
WITH reasons AS (
  SELECT
    CASE
      WHEN status = 'unmapped' THEN 'no mapping recognises the event'
      WHEN actor_type = 'anonymous' THEN 'nobody had signed in'
      WHEN actor_type = 'unknown' AND actor_id IS NULL THEN 'the platform names nobody'
      WHEN actor_type = 'unknown' THEN 'a role that people and machines can take on'
      WHEN owner_basis = 'ambiguous' THEN 'several registry entries claim the identity'
      WHEN owner_basis = 'expired' THEN 'the registry entry had ended'
      WHEN actor_class = 'human' THEN 'a person who is not in the registry'
      ELSE 'a machine that is not in the registry'
    END AS reason,
    -- What stands before an ARN's last part is the same everywhere.
    regexp_replace(coalesce(actor_name, actor_id), '^arn:[^:]*:[^:]*:[^:]*:[^:]*:', '') AS actor
  FROM activities
  WHERE actor_owner IS NULL AND status IN ('mapped', 'partial', 'unmapped') AND actor_class <> 'platform'
)
SELECT reason, count(*) AS num_activities, array_to_string(array_sort(array_agg(DISTINCT actor)), ', ')
FROM reasons
GROUP BY reason
ORDER BY num_activities DESC, reason
