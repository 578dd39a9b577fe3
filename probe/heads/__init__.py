"""Heads"""
