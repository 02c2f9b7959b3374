// What the configuration says about a source of problems or documents.
#ifndef GRPO_DATA_OPTIONS_H_
#define GRPO_DATA_OPTIONS_H_

#include <string>

#include "configs/visit.h"

namespace grpo {

// `data.<name>`: a source of problems or documents, and the keys that the source itself declares. CheckDataOptions and
// MakeDataSource (data/sources.h) say what is wrong with one.
struct DataOptions {
  std::string source = "jsonl";
  std::string artifact = "";
  Section options;

  template <class V>
  void Visit(V& v) {
    v("source", source, {.help = "Which source reads or makes the data (data/sources.inc lists them)."});
    v("artifact", artifact,
      {.help = "Key under `artifacts`: the source's file is what an earlier `synthesize` stage of this run wrote; in "
               "place of the source's `path`."});
    v.Rest(options);
  }
};

}  // namespace grpo

#endif  // GRPO_DATA_OPTIONS_H_
