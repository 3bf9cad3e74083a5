-- What a row's SIEM record or dead letter carries as `actorline-position`. Rows of records without events have neither.
SELECT
  concat(input_topic, '/', CAST(input_partition AS VARCHAR), '/', CAST(input_offset AS VARCHAR), '/', CAST(input_index AS VARCHAR)),
  status
FROM activities
WHERE status <> 'empty'
