-- Operations of which no mapping says what they do, the most frequent first.
SELECT source, action AS operation, count(*) AS num_events
FROM activities
WHERE action_verb = 'other' AND status IN ('mapped', 'partial')
GROUP BY source, action
ORDER BY num_events DESC, source, action
LIMIT 10000
