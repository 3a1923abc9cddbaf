"""The search for help among 100,000 services.

Services are found by words and filters, and by matching a person's situation.
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from bench.figures import Measurement, percentile
from protos.partners.v1 import directory_pb2 as pb
from tests.parts.local_stack import LocalStack, until

SERVICES, QUESTIONS = 100_000, 400
CALLERS, SECONDS = 8, 10.0
DEPARTMENTS = (
    "NI-BO NI-CA NI-CI NI-CO NI-ES NI-GR NI-JI NI-LE NI-MD NI-MN NI-MS NI-MT NI-NS NI-RI NI-SJ"
    " NI-AN NI-AS"
).split()
NAMES = (
    "Alba Aurora Brisa Camino Ceiba Encuentro Esperanza Faro Jardín Laguna Mirador Nido Puente Raíz"
    " Refugio Semilla Sendero Volcán"
).split()
WORDS = (
    "albergue",
    "psicologia",
    "asesoría legal",
    "casa segura",
    "empleo",
    "secundaria",
    "documentos",
    "salud",
    "transporte",
    "Semilla",
    "albrgue",
)
NEEDS = ("HOU.EMG", "HOU.SAFE", "PSS.CNS", "LEG.INF", "MED.PRI", "LIV.JOB", "DOC.BIR", "RET.REC")


def fill(stack: LocalStack) -> int:
    """Copies each service of the demo network many times, with other names and places.

    Returns the number of services after that.
    """
    with stack.database("partners") as database:
        columns = [
            row["column_name"]
            for row in database.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'services'"
                " ORDER BY ordinal_position"
            )
        ]
        new_values = {
            "id": "md5(s.id || n)",
            "name": "word || ' ' || n || ': ' || s.name",
            "name_key": "lower(word) || ' ' || n || ': ' || s.name_key",
            "department": "place",
            "facets": (
                "array(SELECT CASE WHEN f LIKE 'area:%%' THEN 'area:' || place ELSE f END"
                " FROM unnest(s.facets) AS f)"
            ),
            "document": "s.document || setweight(to_tsvector('enlace', word || ' ' || n), 'A')",
        }
        values = ", ".join(new_values.get(column, f"s.{column}") for column in columns)
        database.execute(
            f"INSERT INTO services ({', '.join(columns)}) SELECT {values} FROM services AS s"
            " CROSS JOIN generate_series(1, %(copies)s) AS n"
            " CROSS JOIN LATERAL (SELECT (%(places)s::text[])[1 + (n + ascii(s.id)) %% 17] AS"
            " place,"
            " (%(names)s::text[])[1 + (n * 7 + ascii(s.id)) %% 18] AS word) AS made",
            {"copies": SERVICES // 80, "places": DEPARTMENTS, "names": NAMES},
        )
        database.execute("VACUUM ANALYZE services")
        row = database.execute("SELECT count(*) AS n FROM services").fetchone()
        return int(row["n"]) if row else 0


def measure(stack: LocalStack) -> list[Measurement]:
    """Measures one caller, then eight callers at once.

    The questions of one caller follow one another, and each is different.
    """
    count = fill(stack)
    directory = stack.client("Puentes").directory
    searches = [
        pb.SearchServicesRequest(words=words, department=department, need_code=need)
        for words, department, need in itertools.product(
            ("", *WORDS), ("", *DEPARTMENTS), ("", *NEEDS[:1])
        )
    ]
    matches = [
        pb.MatchServicesRequest(
            need_code=need,
            country="NI",
            department=department,
            age=age,
            language="es",
            gender=pb.GENDER_FEMININE,
        )
        for need, department, age in itertools.product(NEEDS, DEPARTMENTS, (16, 24, 41))
    ]
    # the partners service takes a while to read so many new services
    until(lambda: has_read_services(directory, matches[0]), 120)
    measurements = [
        Measurement(name, *time_questions(rpc, request, count))
        for name, rpc, request in (
            ("search_100k_ms_p99", directory.SearchServices, searches),
            ("match_100k_ms_p99", directory.MatchServices, matches),
        )
    ]
    per_second = answers_per_second(directory.SearchServices, searches)
    return [
        *measurements,
        Measurement(
            "search_per_s",
            per_second,
            f"{CALLERS} callers at once by gRPC, the same questions among {count:,} services",
        ),
    ]


def has_read_services(directory: Any, question: pb.MatchServicesRequest) -> bool:
    """Returns True if the partners service has read the new services and answers a question."""
    try:
        directory.MatchServices(question)
    except grpc.RpcError:
        return False
    return True


def answers_per_second(rpc: Any, requests: list[Any]) -> float:
    """Returns the number of answers per second that CALLERS callers get together."""
    end = time.perf_counter() + SECONDS
    answer_count, lock = 0, threading.Lock()
    questions = itertools.cycle(requests)

    def ask(_number: int) -> None:
        nonlocal answer_count
        while time.perf_counter() < end:
            with lock:
                question = next(questions)
            rpc(question)
            with lock:
                answer_count += 1

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(ask, range(CALLERS)))
    return answer_count / SECONDS


def time_questions(rpc: Any, requests: list[Any], service_count: int) -> tuple[float, str, float]:
    """Returns the p99 in milliseconds, the conditions, and the median."""
    for request in requests[::20]:
        rpc(request)
    milliseconds = []
    for request in requests[:QUESTIONS]:
        begin = time.perf_counter()
        rpc(request)
        milliseconds.append((time.perf_counter() - begin) * 1000)
    return (
        percentile(milliseconds, 99),
        f"{len(milliseconds)} different questions by gRPC among {service_count:,} services;"
        " beside: p50",
        percentile(milliseconds, 50),
    )
