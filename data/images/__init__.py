"""Images"""
