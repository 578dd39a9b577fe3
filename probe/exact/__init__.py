"""Exact"""
