#include "errors.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <new>

#include "common.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::cli {

void print_error(std::string_view text) {
  std::fflush(stdout);
  fmt::print(stderr, "runrig: {}\n", printable(text));
}

// What was asked for cannot be: the words of FormatError and ExpressionError are about the command line where they get
// this far, since what is wrong with an input file is part of a report.
End run_guarded(const std::function<int()>& body) {
  try {
    return {body(), ""};
  } catch (const UsageError& error) {
    return {exit_usage, error.what()};
  } catch (const ExpressionError& error) {
    return {exit_usage, error.what()};
  } catch (const Cancelled&) {
    return {exit_interrupted, "interrupted"};
  } catch (const FormatError& error) {
    return {exit_usage, error.what()};
  } catch (const Error& error) {
    const bool usage = error.code() == std::errc::invalid_argument || error.code() == std::errc::file_exists;
    return {usage ? exit_usage : exit_failed, error.what()};
  } catch (const std::bad_alloc&) {
    return {exit_failed, "out of memory"};
  } catch (const std::exception& error) {
    return {exit_failed, error.what()};
  }
}

}  // namespace runrig::cli
