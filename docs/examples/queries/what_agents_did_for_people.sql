/* Everything that an AI agent did on somebody's behalf. */
SELECT event_time, source, coalesce(actor_name, actor_id) AS agent, actor_owner, on_behalf_of, action, target_resource, result
FROM activities
WHERE actor_type = 'ai_agent' AND on_behalf_of IS NOT NULL
ORDER BY event_time
