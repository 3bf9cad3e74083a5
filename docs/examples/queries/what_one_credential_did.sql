/* What one credential did, and what the credentials did that were minted with it, one step after the other. */
WITH RECURSIVE minted (credential_id, depth) AS (
    SELECT CAST('ASIAEXAMPLEDEPLOY001' AS VARCHAR), 0
    UNION ALL
    SELECT activity.issued_credential_id, minted.depth + 1
    FROM activities AS activity JOIN minted ON activity.credential_id = minted.credential_id
    WHERE activity.issued_credential_id <> minted.credential_id AND minted.depth < 9
)
SELECT event_time, source, actor_type, coalesce(actor_name, actor_id) AS actor, action, target_resource, result, source_ip
FROM activities
WHERE credential_id IN (SELECT credential_id FROM minted)
ORDER BY event_time
