#pragma once

#include <cstdint>
#include <filesystem>

/// The files of the sample, one function each; README.md beside this file describes what is in them and in which units.
/// Each replaces `path` and writes the same bytes for the same seed. Errors are runrig::Error.
namespace runrig::data {

/// month-1.h5 to month-3.h5: weather on a globe; `month` counts from 1, to 12.
void write_month(const std::filesystem::path& path, std::uint64_t seed, int month);
/// series.h5: a barometer, contiguous and compact.
void write_series(const std::filesystem::path& path, std::uint64_t seed);
/// frames.h5: a detector's image stack, big-endian and with checksums.
void write_frames(const std::filesystem::path& path, std::uint64_t seed);
/// survey.h5: a ship's soundings, mostly never written, and everything that is not an array of numbers.
void write_survey(const std::filesystem::path& path, std::uint64_t seed);
/// types.h5: each numeric type in both byte orders, behind a user block and misaligned.
void write_types(const std::filesystem::path& path);

}  // namespace runrig::data
