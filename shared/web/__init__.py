"""HTTP code of both services: who may send requests, how large they may be, and how errors are answered."""
