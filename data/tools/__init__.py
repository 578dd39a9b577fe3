"""Tools"""
