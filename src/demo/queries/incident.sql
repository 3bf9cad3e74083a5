-- One incident: everything that an AI agent's workflow run, the key that leaked from it, and whoever took the key are tied to.
--
-- From the leaked key the walk follows each credential to those that were obtained with it. The thief's network is where
-- the key was used from after the alert and never before; what else came from there used stolen credentials too.
WITH RECURSIVE start AS (
  SELECT 'AKIAEXAMPLIACI7Q4KDZ' AS leaked_key, '7c1d2e90-5b3a-4f67-8a14-9de0c2b7a351' AS agent_session, '13800042217' AS workflow_run
),
alert AS (
  SELECT min(event_time) AS at FROM activities WHERE action = 'secret_scanning_alert.create'
),
walk AS (
  SELECT leaked_key AS credential FROM start
  UNION ALL
  SELECT a.issued_credential_id
  FROM activities a JOIN walk w ON a.credential_id = w.credential
  WHERE a.issued_credential_id IS NOT NULL AND a.issued_credential_id <> w.credential AND a.event_time >= '2025-03-11T14:00:00Z'
),
network AS (
  SELECT DISTINCT source_ip
  FROM activities
  WHERE credential_id = (SELECT leaked_key FROM start) AND event_time >= (SELECT at FROM alert)
    AND source_ip NOT IN (
      SELECT source_ip FROM activities
      WHERE credential_id = (SELECT leaked_key FROM start) AND event_time < (SELECT at FROM alert) AND source_ip IS NOT NULL
    )
),
credentials AS (
  SELECT credential FROM walk
  UNION
  SELECT credential_id FROM activities WHERE source_ip IN (SELECT source_ip FROM network) AND credential_id IS NOT NULL
),
steps AS (
  SELECT *
  FROM activities a
  WHERE a.event_time >= '2025-03-11T14:00:00Z' AND (
       a.correlation_id = (SELECT workflow_run FROM start)
    OR a.session_id = (SELECT agent_session FROM start)
    OR a.action LIKE 'secret_scanning_alert.%'
    OR a.credential_id IN (SELECT credential FROM walk)
    OR (a.credential_id IN (SELECT credential FROM credentials) AND a.event_time >= (SELECT at FROM alert))
    OR a.source_ip IN (SELECT source_ip FROM network)
    -- Whatever names one of them, such as the call that disables it.
    OR EXISTS (SELECT 1 FROM credentials c WHERE a.raw LIKE '%' || c.credential || '%' AND a.event_time >= (SELECT at FROM alert))
  )
)
SELECT
  CASE
    WHEN event_time < '2025-03-11T14:07:00Z' THEN 'An AI agent changes the deploy workflow, and a person lets it run'
    WHEN event_time < '2025-03-11T14:10:00Z' THEN 'The run deploys with the static key of a CI user'
    WHEN event_time < '2025-03-11T14:19:00Z' THEN 'It fails, and the agent pushes its log to a public repository, key included'
    WHEN event_time < '2025-03-11T14:28:00Z' THEN 'Somebody else uses the key, makes a second one and takes on the deploy role'
    WHEN event_time < '2025-03-11T14:39:00Z' THEN 'The role opens the cluster: three secrets, a shell, a token, a job that stays'
    WHEN event_time < '2025-03-11T14:52:00Z' THEN 'The secrets open two more clouds and an AI platform'
    WHEN event_time < '2025-03-11T15:00:00Z' THEN 'Back in AWS, looking for a way to stay'
    ELSE 'People shut one door after the other, and somebody still tries them'
  END,
  to_char(event_time, '%H:%M:%S'),
  source, actor_type, actor_id, actor_name, actor_owner, policy_state,
  action, target_resource, target_name, result,
  credential_id, issued_credential_id, session_id, correlation_id, source_ip, raw
FROM steps
ORDER BY event_time, source, event_uid
