namespace Sagas.Runtime;

/// <summary>Starts, ends and durations of the last minute, second by second, in constant memory.</summary>
internal sealed class Pulse(TimeProvider time)
{
    private const int Window = 60;
    private readonly Lock _lock = new();
    private readonly Second[] _seconds = [.. Enumerable.Range(0, Window).Select(_ => new Second())];

    public void Started()
    {
        lock (_lock) Now_NeedsLock().Started++;
    }

    public void Ended(SagaStatus how, TimeSpan duration)
    {
        lock (_lock)
        {
            var now = Now_NeedsLock();
            if (how == SagaStatus.Completed) now.Completed++;
            else if (how == SagaStatus.Compensated) now.Compensated++;
            now.Durations[Bucket(duration.TotalMilliseconds)]++;
        }
    }

    /// <summary>Rates a second over the last minute, and durations in ms (within 5%).</summary>
    public (double Started, double Completed, double Compensated, double P50, double P95, double P99) Read()
    {
        lock (_lock)
        {
            long started = 0, completed = 0, compensated = 0, total = 0;
            var all = new long[Second.Buckets];
            var oldest = Stamp() - Window;
            var live = _seconds.Where(s => s.Stamp > oldest).ToArray();
            foreach (var second in live)
            {
                started += second.Started;
                completed += second.Completed;
                compensated += second.Compensated;
                for (var i = 0; i < all.Length; i++)
                {
                    all[i] += second.Durations[i];
                    total += second.Durations[i];
                }
            }
            var span = live.Length == 0 ? 1 : Math.Max(1, Stamp() - live.Min(s => s.Stamp) + 1);
            return ((double)started / span, (double)completed / span, (double)compensated / span,
                Quantile(all, total, 0.5), Quantile(all, total, 0.95), Quantile(all, total, 0.99));
        }
    }

    private static double Quantile(long[] buckets, long total, double q)
    {
        if (total == 0) return 0;
        var rank = (long)Math.Ceiling(total * q);
        for (var i = 0; i < buckets.Length; i++)
            if ((rank -= buckets[i]) <= 0) return Math.Round(Math.Pow(1.05, i) - 1, 2);
        return 0;
    }

    private static int Bucket(double ms) => Math.Clamp((int)Math.Round(Math.Log(ms + 1, 1.05)), 0, Second.Buckets - 1);

    private long Stamp() => time.GetUtcNow().ToUnixTimeSeconds();

    private Second Now_NeedsLock()
    {
        var stamp = Stamp();
        var second = _seconds[stamp % Window];
        if (second.Stamp != stamp) second.Restart(stamp);
        return second;
    }

    private sealed class Second
    {
        public const int Buckets = 400;

        public long Stamp { get; private set; }
        public int Started { get; set; }
        public int Completed { get; set; }
        public int Compensated { get; set; }
        public int[] Durations { get; } = new int[Buckets];

        public void Restart(long stamp)
        {
            Stamp = stamp;
            Started = Completed = Compensated = 0;
            Array.Clear(Durations);
        }
    }
}
