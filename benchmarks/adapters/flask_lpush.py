"""The bare route our POST /jobs is held against: JSON in, one LPUSH, JSON out."""

import json
import os
import uuid

import redis
from flask import Flask, jsonify, request

app = Flask(__name__)
server = redis.Redis.from_url(os.environ["BENCH_URL"])


@app.post("/jobs")
def create():
    """One LPUSH."""
    job_id = str(uuid.uuid4())
    server.lpush("q", json.dumps({"id": job_id, **request.get_json()}))
    return jsonify(job_id=job_id), 201
