"""Cache"""
