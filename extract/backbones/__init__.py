"""Backbones"""
