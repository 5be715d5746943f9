#include <vector>

#include "runrig/hdf5/selection.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::hdf5 {
namespace {

/// A text without its quotes, and which of its characters were quoted.
struct Unquoted {
  std::string text;
  std::vector<bool> quoted;
  std::size_t selection_at = std::string_view::npos;  // in the text as written: an unquoted "["
};

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw FormatError("use the dataset name", text, why);
}

/// Takes quotes off up to an unquoted "[", behind which the selection has none.
Unquoted unquote(std::string_view text) {
  Unquoted result;
  char quote = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && quote != '\'') {
      if (++i == text.size()) refuse(text, "it ends with a backslash");
      result.text += text[i];
      result.quoted.push_back(true);
    } else if (quote != '\0' && c == quote) {
      quote = '\0';
    } else if (quote == '\0' && (c == '"' || c == '\'')) {
      quote = c;
    } else if (quote == '\0' && c == '[') {
      result.selection_at = i;
      return result;
    } else {
      result.text += c;
      result.quoted.push_back(quote != '\0');
    }
  }
  if (quote != '\0') refuse(text, std::string("a quote ") + quote + " is not closed");
  return result;
}

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (text.empty() || !letter(text[0])) return false;
  for (const char c : text) {
    if (!letter(c) && !(c >= '0' && c <= '9')) return false;
  }
  return true;
}

}  // namespace

DatasetRef parse_dataset_ref(std::string_view text) {
  const Unquoted name = unquote(text);
  DatasetRef ref;
  ref.path = name.text;
  for (std::size_t i = 0; i + 1 < name.text.size(); ++i) {
    if (name.text[i] != ':' || name.text[i + 1] != '/' || name.quoted[i]) continue;
    if (i == 0) refuse(text, "the file's name before \":/\" is missing");
    ref.file = name.text.substr(0, i);
    ref.path = name.text.substr(i + 1);
    break;
  }
  if (ref.path.empty()) refuse(text, "the name is empty");
  if (ref.path.find('\0') != std::string::npos) refuse(text, "a NUL in the name");
  if (ref.path[0] != '/') ref.path.insert(0, 1, '/');
  if (name.selection_at != std::string_view::npos) ref.selection = parse_selection(text.substr(name.selection_at));
  return ref;
}

NamedDatasetRef parse_named_dataset_ref(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals != std::string_view::npos && is_identifier(text.substr(0, equals))) {
    return {std::string(text.substr(0, equals)), parse_dataset_ref(text.substr(equals + 1))};
  }
  NamedDatasetRef ref{{}, parse_dataset_ref(text)};
  ref.name = ref.dataset.path.substr(ref.dataset.path.rfind('/') + 1);
  if (!is_identifier(ref.name)) {
    refuse(text, "\"" + ref.name + "\" cannot be a variable's name; write NAME=" + std::string(text));
  }
  return ref;
}

}  // namespace runrig::hdf5
