#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runrig/batch/session.hpp"

namespace runrig::cli {

/// A histogram as bars for a terminal of `columns` columns: a line for each bin with where it begins and ends, a bar in
/// eighths of a character, and the count.
[[nodiscard]] std::string histogram_text(const std::vector<double>& edges, const std::vector<std::uint64_t>& counts,
                                         std::size_t columns);

/// Draws the histograms into `path`, which ends in .png or .svg (see check_plot_path()), one panel for each that has
/// one, and replaces what is there. Throws Error: the file system's reasons; std::runtime_error for more than
/// most_panels, or none.
void write_plot(const std::string& path, const std::vector<batch::DatasetStatistics>& results);
inline constexpr std::size_t most_panels = 24;
/// Before the work: throws UsageError for another ending, a file that is read, and a directory that is not to be
/// written into.
void check_plot_path(const std::string& path, const std::vector<std::string>& inputs);

}  // namespace runrig::cli
