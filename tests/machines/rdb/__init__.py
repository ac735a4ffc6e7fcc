"""Tests of raftkv/machines/redis/rdb/."""
