"""Seeded fleets with faults and ground truth."""
