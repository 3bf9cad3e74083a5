/* Who acted, by kind of actor, and how much of it has an owner. */
SELECT actor_class, actor_type, count(*) AS num_events, count(DISTINCT actor_id) AS num_actors, count(actor_owner) AS num_owned
FROM activities
WHERE status IN ('mapped', 'partial') AND received_date >= DATE '2026-01-01'
GROUP BY actor_class, actor_type
ORDER BY num_events DESC
