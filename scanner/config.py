"""``config.toml`` and the environment → frozen sections, or one ConfigError with every mistake."""

from __future__ import annotations

from scanner.settings import (
    AssetLayoutConfig,
    ColumnsConfig,
    Config,
    DatabaseConfig,
    DataConfig,
    EmbeddingCheckConfig,
    IndexConfig,
    JobsConfig,
    KeypointsCheckConfig,
    LayoutConfig,
    LogConfig,
    ScanConfig,
    SegmentCheckConfig,
    VerifyConfig,
    WebConfig,
)

__all__ = [
    "AssetLayoutConfig",
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "DatabaseConfig",
    "EmbeddingCheckConfig",
    "IndexConfig",
    "JobsConfig",
    "KeypointsCheckConfig",
    "LayoutConfig",
    "LogConfig",
    "ScanConfig",
    "SegmentCheckConfig",
    "VerifyConfig",
    "WebConfig",
]
