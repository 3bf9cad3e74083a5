-- What became of what was read.
SELECT status, count(*)
FROM activities
GROUP BY status
ORDER BY count(*) DESC, status
