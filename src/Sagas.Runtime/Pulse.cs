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
/// <param name="InFlight">How many sagas were held in each unfinished status, when it was counted last in the span; empty: it was not.</param>
public sealed record StatsPoint(DateTimeOffset At, long Started, long Completed, long Compensated, long Terminated, long Failed, double? P50, double? P95, double? P99,
    ImmutableDictionary<SagaStatus, long> InFlight)
{
    private long Ended => Completed + Compensated + Terminated;

    /// <summary>With what another node did in the same span. Quantiles weigh by how many sagas ended there, which is close to the truth when the nodes do the same.</summary>
    internal StatsPoint With(StatsPoint other)
    {
        return this with
        {
            Started = Started + other.Started, Completed = Completed + other.Completed, Compensated = Compensated + other.Compensated, Terminated = Terminated + other.Terminated,
            Failed = Failed + other.Failed, P50 = Weighed(P50, other.P50), P95 = Weighed(P95, other.P95), P99 = Weighed(P99, other.P99), InFlight = Survey.Sum([InFlight, other.InFlight]),
        };

        double? Weighed(double? mine, double? its) => mine is null || its is null ? mine ?? its : Math.Round(((mine.Value * Ended) + (its.Value * other.Ended)) / (Ended + other.Ended), 2);
    }
}

/// <summary>The last minute: rates a second, and how many durations of ended sagas lie in each bucket.</summary>
internal sealed record Minute(double Started, double Completed, double Compensated, double Terminated, double Failed, ImmutableDictionary<int, long> Durations)
{
    public static readonly Minute Nothing = new(0, 0, 0, 0, 0, ImmutableDictionary<int, long>.Empty);

    /// <summary>With the same minute of another node.</summary>
    public Minute With(Minute other) => new(Started + other.Started, Completed + other.Completed, Compensated + other.Compensated, Terminated + other.Terminated, Failed + other.Failed,
        Survey.Sum([Durations, other.Durations]));

    /// <summary>In ms, within 5%; 0 when none ended.</summary>
    public double Quantile(double q) => Pulse.Quantile(Durations.OrderBy(static bucket => bucket.Key).Select(static bucket => (bucket.Key, bucket.Value)), q);
}

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

    /// <summary>The last minute, of one definition or of all.</summary>
    public Minute LastMinute(string? definition) => TrackOf(definition) is { } track ? track.LastMinute(Stamp()) : Minute.Nothing;

    /// <summary>How long the spans of a series of so many minutes are.</summary>
    public static TimeSpan SpanOf(int minutes) => TimeSpan.FromSeconds(minutes <= 15 ? 5 : 60);

    /// <summary>The last so many minutes, the oldest first, in spans of 5 seconds up to 15 minutes and of a minute beyond.</summary>
    public ImmutableArray<StatsPoint> Series(string? definition, int minutes)
    {
        var (now, span) = (Stamp(), (int)SpanOf(minutes).TotalSeconds);
        return TrackOf(definition) is { } track ? track.Last(now, span, minutes * 60 / span) : Track.Nothing(now, span, minutes * 60 / span);
    }

    /// <summary>The duration in ms below which that share lies, from buckets in their order.</summary>
    public static double Quantile(IEnumerable<(int Bucket, long Count)> buckets, double q)
    {
        var counts = buckets.ToArray();
        var rank = (long)Math.Ceiling(counts.Sum(static one => one.Count) * q);
        foreach (var (bucket, count) in counts)
            if (count > 0 && (rank -= count) <= 0) return Math.Round(Math.Pow(1.05, bucket) - 1, 2);
        return 0;
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

        public Minute LastMinute(long stamp)
        {
            lock (_lock)
            {
                var live = _seconds.Since(stamp - 59).ToArray();
                if (live.Length == 0) return Minute.Nothing;
                var span = (double)Math.Max(1, stamp - live.Min(point => point.Stamp) + 1);
                var durations = new Durations();
                foreach (var point in live) durations.Add(point.Durations);
                return new Minute(live.Sum(p => p.Started) / span, live.Sum(p => p.Completed) / span, live.Sum(p => p.Compensated) / span, live.Sum(p => p.Terminated) / span,
                    live.Sum(p => p.Failed) / span, durations.Filled.ToImmutableDictionary(static one => one.Bucket, static one => one.Count));
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

        public IEnumerable<(int Bucket, long Count)> Filled => _counts.Select(static (count, bucket) => (bucket, (long)count)).Where(static one => one.Item2 > 0);

        public double Quantile(double q) => Pulse.Quantile(Filled, q);
    }
}
