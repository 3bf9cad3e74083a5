-- Sources by actor types.
SELECT source, actor_type, count(*)
FROM activities
WHERE status IN ('mapped', 'partial')
GROUP BY source, actor_type
ORDER BY source, actor_type
