// The two recursions of envs/replay.py as plain C++ loops: what a compiled language makes of them.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

static const double refused = std::numeric_limits<double>::quiet_NaN();

extern "C" int64_t replay_queue(const double* arrival_s, int64_t n, const double* latency_s, int64_t largest, const double* factors,
                                int64_t n_servers, double max_wait_s, double drop_after_s, double* out_s) {
  std::vector<double> clock(n_servers, 0.0);
  int64_t head = 0, answers = 0;
  while (head < n) {
    const auto server = std::min_element(clock.begin(), clock.end());
    double t = std::max(*server, arrival_s[head]);
    const int64_t limit = std::min(largest, n - head);
    int64_t size = 1;
    while (size < limit && arrival_s[head + size] < t) ++size;
    const double due = arrival_s[head] + max_wait_s;
    if (size < largest && t < due) {
      const int64_t full = head + largest - 1;
      if (full < n && arrival_s[full] < due) {
        t = arrival_s[full];
        size = largest;
      } else {
        t = due;
        while (size < limit && arrival_s[head + size] < t) ++size;
      }
    }
    if (t - arrival_s[head] > drop_after_s) {
      out_s[head++] = refused;
      continue;
    }
    const double finish = t + latency_s[size] * factors[head];
    for (int64_t i = head; i < head + size; ++i) out_s[i] = finish - arrival_s[i];
    *server = finish;
    head += size;
    answers += size;
  }
  return answers;
}

extern "C" int64_t replay_groups(const double* arrival_s, const int64_t* model, int64_t n, const int64_t* first_host,
                                 const int64_t* hosts, const double* latency_s, const int64_t* n_stages, int64_t most_stages,
                                 const double* slo_s, double overhead_s, double* clock, double* out_s) {
  int64_t answers = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double t = arrival_s[i];
    const int64_t m = model[i];
    out_s[i] = refused;
    int64_t best = -1;
    double best_clock = std::numeric_limits<double>::infinity();
    for (int64_t h = first_host[m]; h < first_host[m + 1]; ++h) {
      const double last = clock[hosts[h] * most_stages + n_stages[hosts[h]] - 1];
      if (last < best_clock) {
        best = h;
        best_clock = last;
      }
    }
    if (best < 0) continue;
    const int64_t stages = n_stages[hosts[best]];
    double* const own = clock + hosts[best] * most_stages;
    const double* const seconds = latency_s + best * most_stages;
    double x = t;
    for (int64_t s = 0; s < stages; ++s) x = std::max(x, own[s]) + seconds[s];
    const double finish = x + overhead_s;
    if (finish - t > slo_s[m]) continue;
    x = t;
    for (int64_t s = 0; s < stages; ++s) own[s] = x = std::max(x, own[s]) + seconds[s];
    out_s[i] = finish - t;
    ++answers;
  }
  return answers;
}
