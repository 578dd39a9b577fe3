"""Write"""
