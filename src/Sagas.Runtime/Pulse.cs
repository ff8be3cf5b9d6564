using System.Collections.Concurrent;
using System.Collections.Immutable;

namespace Sagas.Runtime;

/// <summary>What happened in one span of a series.</summary>
/// <param name="At">When the span began.</param>
/// <param name="Started">Sagas started.</param>
/// <param name="Completed">Sagas completed.</param>
/// <param name="Compensated">Sagas compensated.</param>
/// <param name="Terminated">Sagas terminated.</param>
/// <param name="Failed">Attempts that were refused, erred or timed out.</param>
/// <param name="P50">Median duration of the sagas that ended, in ms; null: none ended.</param>
/// <param name="P95">95th percentile, in ms.</param>
/// <param name="P99">99th percentile, in ms.</param>
/// <param name="InFlight">How many sagas this node held in each unfinished status, when it was counted last in the span; empty: it was not.</param>
public sealed record StatsPoint(DateTimeOffset At, long Started, long Completed, long Compensated, long Terminated, long Failed, double? P50, double? P95, double? P99,
    ImmutableDictionary<SagaStatus, long> InFlight);

/// <summary>Numbers of a minute.</summary>
internal readonly record struct Rates(double Started, double Completed, double Compensated, double Terminated, double Failed, double P50, double P95, double P99);

/// <summary>Starts, ends and durations: of the last minute by the second, of 15 minutes by 5 seconds, of a day by the minute; of all sagas and of each definition. In constant memory.</summary>
internal sealed class Pulse(TimeProvider time)
{
    /// <summary>Series of so many definitions are kept; those beyond count towards the whole only.</summary>
    public const int MaxDefinitions = 200;

    private readonly Track _all = new();
    private readonly ConcurrentDictionary<string, Track> _byDefinition = new(StringComparer.Ordinal);

    public void Started(string definition) => Each(definition, static point => point.Started++);

    public void Ended(string definition, SagaStatus how, TimeSpan duration) => Each(definition, point =>
    {
        if (how == SagaStatus.Completed) point.Completed++;
        else if (how == SagaStatus.Compensated) point.Compensated++;
        else point.Terminated++;
        point.Add(duration.TotalMilliseconds);
    });

    public void Failed(string definition, int attempts) => Each(definition, point => point.Failed += attempts);

    /// <summary>Keeps how many are in flight.</summary>
    public void Sample(InFlight now)
    {
        var stamp = Stamp();
        _all.Do(stamp, point => point.InFlight = now.ByStatus);
        foreach (var (name, track) in _byDefinition)
        {
            var versions = now.Definitions.Where(version => version.Definition == name).SelectMany(version => version.ByStatus);
            var byStatus = versions.GroupBy(pair => pair.Key, pair => pair.Value).ToImmutableDictionary(group => group.Key, group => group.Sum());
            track.Do(stamp, point => point.InFlight = byStatus);
        }
    }

    /// <summary>Rates a second over the last minute, and durations in ms (within 5%); of one definition, or of all.</summary>
    public Rates Read(string? definition = null) => TrackOf(definition) is { } track ? track.LastMinute(Stamp()) : default;

    /// <summary>The last so many minutes, the oldest first, in spans of 5 seconds up to 15 minutes and of a minute beyond.</summary>
    public (TimeSpan Span, ImmutableArray<StatsPoint> Points) Series(string? definition, int minutes)
    {
        var now = Stamp();
        var span = minutes <= 15 ? 5 : 60;
        var points = TrackOf(definition) is { } track ? track.Last(now, span, minutes * 60 / span) : Track.Nothing(now, span, minutes * 60 / span);
        return (TimeSpan.FromSeconds(span), points);
    }

    private Track? TrackOf(string? definition) => definition is null ? _all : _byDefinition.GetValueOrDefault(definition);

    private void Each(string definition, Action<Point> what)
    {
        var stamp = Stamp();
        _all.Do(stamp, what);
        if (!_byDefinition.TryGetValue(definition, out var track))
        {
            if (_byDefinition.Count >= MaxDefinitions) return;
            track = _byDefinition.GetOrAdd(definition, static _ => new Track());
        }
        track.Do(stamp, what);
    }

    private long Stamp() => time.GetUtcNow().ToUnixTimeSeconds();

    private sealed class Track
    {
        private readonly Lock _lock = new();
        private readonly Ring _seconds = new(1, 60), _fine = new(5, 180), _minutes = new(60, 1440);

        public void Do(long stamp, Action<Point> what)
        {
            lock (_lock)
            {
                what(_seconds.Now(stamp));
                what(_fine.Now(stamp));
                what(_minutes.Now(stamp));
            }
        }

        public Rates LastMinute(long stamp)
        {
            lock (_lock)
            {
                var live = _seconds.Since(stamp - 59).ToArray();
                if (live.Length == 0) return default;
                var span = (double)Math.Max(1, stamp - live.Min(point => point.Stamp) + 1);
                var durations = new Durations();
                foreach (var point in live) durations.Add(point.Durations);
                return new Rates(live.Sum(p => p.Started) / span, live.Sum(p => p.Completed) / span, live.Sum(p => p.Compensated) / span, live.Sum(p => p.Terminated) / span,
                    live.Sum(p => p.Failed) / span, durations.Quantile(0.5), durations.Quantile(0.95), durations.Quantile(0.99));
            }
        }

        public ImmutableArray<StatsPoint> Last(long stamp, int span, int count)
        {
            var ring = span == 5 ? _fine : _minutes;
            lock (_lock)
            {
                var first = stamp / span - count + 1;
                var known = ring.Since(first * span).ToDictionary(point => point.Stamp);
                return [.. Enumerable.Range(0, count).Select(i => known.TryGetValue((first + i) * span, out var point) ? point.Read() : Nothing((first + i) * span))];
            }
        }

        public static ImmutableArray<StatsPoint> Nothing(long stamp, int span, int count)
        {
            var first = stamp / span - count + 1;
            return [.. Enumerable.Range(0, count).Select(i => Nothing((first + i) * span))];
        }

        private static StatsPoint Nothing(long stamp) =>
            new(DateTimeOffset.FromUnixTimeSeconds(stamp), 0, 0, 0, 0, 0, null, null, null, ImmutableDictionary<SagaStatus, long>.Empty);
    }

    /// <summary>So many spans; a new one takes the place of the oldest.</summary>
    private sealed class Ring(int span, int count)
    {
        private readonly Point?[] _points = new Point?[count];
        private Point? _last;

        public Point Now(long stamp)
        {
            stamp -= stamp % span;
            if (_last is { } last && last.Stamp == stamp) return last;
            // Only the spans of the last minute are added up again; of a longer one its quantiles are enough.
            if (span > 1) _last?.Close();
            var at = stamp / span % count;
            if (_points[at] is not { } point || point.Stamp != stamp) _points[at] = point = new Point(stamp);
            return _last = point;
        }

        public IEnumerable<Point> Since(long stamp) => _points.OfType<Point>().Where(point => point.Stamp >= stamp);
    }

    private sealed class Point(long stamp)
    {
        private (double P50, double P95, double P99)? _closed;

        public long Stamp { get; } = stamp;
        public long Started { get; set; }
        public long Completed { get; set; }
        public long Compensated { get; set; }
        public long Terminated { get; set; }
        public long Failed { get; set; }
        public ImmutableDictionary<SagaStatus, long> InFlight { get; set; } = ImmutableDictionary<SagaStatus, long>.Empty;
        public Durations? Durations { get; private set; }

        public void Add(double ms) => (Durations ??= new Durations()).Add(ms);

        public void Close()
        {
            _closed = Quantiles() ?? _closed;
            Durations = null;
        }

        public StatsPoint Read()
        {
            var quantiles = Quantiles() ?? _closed;
            return new StatsPoint(DateTimeOffset.FromUnixTimeSeconds(Stamp), Started, Completed, Compensated, Terminated, Failed, quantiles?.P50, quantiles?.P95, quantiles?.P99, InFlight);
        }

        private (double P50, double P95, double P99)? Quantiles() => Durations is { } known ? (known.Quantile(0.5), known.Quantile(0.95), known.Quantile(0.99)) : null;
    }

    /// <summary>How many durations lie in each of the buckets, which grow by 5%.</summary>
    private sealed class Durations
    {
        private const int Buckets = 400;
        private readonly int[] _counts = new int[Buckets];

        public void Add(double ms) => _counts[Math.Clamp((int)Math.Round(Math.Log(ms + 1, 1.05)), 0, Buckets - 1)]++;

        public void Add(Durations? others)
        {
            if (others is null) return;
            for (var i = 0; i < Buckets; i++) _counts[i] += others._counts[i];
        }

        public double Quantile(double q)
        {
            var total = _counts.Sum(static count => (long)count);
            if (total == 0) return 0;
            var rank = (long)Math.Ceiling(total * q);
            for (var i = 0; i < Buckets; i++)
                if ((rank -= _counts[i]) <= 0) return Math.Round(Math.Pow(1.05, i) - 1, 2);
            return 0;
        }
    }
}
