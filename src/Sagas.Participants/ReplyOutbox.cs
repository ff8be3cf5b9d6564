using Microsoft.Extensions.Logging;
using Sagas.Journal;

namespace Sagas.Participants;

/// <summary>Sends one envelope of replies. Returns when the bus has it.</summary>
/// <param name="replyTo">The engine's queue, as the commands named it.</param>
/// <param name="batch">The replies.</param>
/// <param name="cancel">Cancelled when the host can wait no longer.</param>
public delegate Task SendReplies(string replyTo, ReplyBatch batch, CancellationToken cancel);

/// <summary>The replies to one queue: one send at a time, and what gathers meanwhile goes into the next envelope.</summary>
internal sealed class ReplyOutbox(string replyTo, SendReplies send, TimeProvider time, ILogger logger, CancellationToken stop) : IThreadPoolWorkItem
{
    private const int MostItems = 256, MostBytes = 256 << 10, MostWaiting = 64 << 10, Tries = 3;

    private readonly Lock _gate = new();
    private readonly Queue<(ReplyItem Reply, Receipt? Receipt)> _waiting = new();
    private bool _sending;
    private TaskCompletionSource? _idle;

    public void Add(ReplyItem reply, Receipt? receipt = null)
    {
        lock (_gate)
        {
            if (_waiting.Count >= MostWaiting) _waiting.Dequeue().Receipt?.GivenUp();
            _waiting.Enqueue((reply, receipt));
            if (_sending) return;
            _sending = true;
        }
        time.Queue(this);
    }

    /// <summary>Completes when all replies have left.</summary>
    public Task FlushAsync()
    {
        lock (_gate)
        {
            if (!_sending) return Task.CompletedTask;
            return (_idle ??= new TaskCompletionSource(time.Continuations())).Task;
        }
    }

    void IThreadPoolWorkItem.Execute() => _ = PumpAsync();

    private async Task PumpAsync()
    {
        while (true)
        {
            List<ReplyItem> items;
            List<Receipt>? receipts = null;
            lock (_gate)
            {
                if (_waiting.Count == 0)
                {
                    _sending = false;
                    _idle?.TrySetResult();
                    _idle = null;
                    return;
                }
                items = new List<ReplyItem>(Math.Min(_waiting.Count, MostItems));
                for (var bytes = 0; items.Count < MostItems && _waiting.TryPeek(out var next); _waiting.Dequeue())
                {
                    bytes += Size(next.Reply);
                    if (bytes > MostBytes && items.Count > 0) break;
                    items.Add(next.Reply);
                    if (next.Receipt is not null) (receipts ??= []).Add(next.Receipt);
                }
            }
            var sent = await SendAsync(new ReplyBatch(items));
            foreach (var receipt in receipts ?? [])
                if (sent) receipt.Replied();
                else receipt.GivenUp();
        }
    }

    private async Task<bool> SendAsync(ReplyBatch batch)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await send(replyTo, batch, stop);
                return true;
            }
            catch (Exception e) when (attempt < Tries && !stop.IsCancellationRequested)
            {
                Log.RepliesHeld(logger, replyTo, e);
                try
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(100 * attempt * attempt), time, stop);
                }
                catch (OperationCanceledException)
                {
                    // The next try is the last one.
                }
            }
            catch (Exception e)
            {
                Log.RepliesDropped(logger, batch.Items.Count, replyTo, e);
                return false;
            }
        }
    }

    // Near enough: names and punctuation are some 150 bytes.
    private static int Size(ReplyItem reply) =>
        150 + reply.Saga.Length + reply.Step.Length + (reply.Payload?.Utf8.Length ?? 0) + (reply.Message?.Length ?? 0) + (reply.Code?.Length ?? 0);
}
