-- Undoes 0006_generation_jobs. Orders that are open are lost; what was put aside for them goes back in its time.

DROP TABLE instances;
DROP TABLE generation_jobs;
