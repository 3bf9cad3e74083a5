-- How many records have at least one row.
SELECT count(*)
FROM (SELECT DISTINCT input_topic, input_partition, input_offset FROM activities)
