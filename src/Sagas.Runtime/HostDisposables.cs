namespace Sagas.Runtime;

/// <summary>What is to end with the host, and is not a service: a host may be disposed without having been stopped, and then no lifetime event tells of its end.</summary>
internal sealed class HostDisposables : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<IDisposable> _all = [];

    public void Add(IDisposable one)
    {
        lock (_lock) _all.Add(one);
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (var one in _all) one.Dispose();
            _all.Clear();
        }
    }
}
