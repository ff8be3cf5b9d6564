namespace Sagas.Participants;

// Between the wire and the handlers: makes a participant idempotent and deaf to what comes too late.
// One row for each saga and step; the host hands in one item of a step at a time. "call" is: note that it begins, call the handler, note its ok or refusal.
// Both notes are durable before the next word (the handler's call, the reply). What crashes between them is called again, with the same key.
//
//  the row says      Try, Do              Confirm           Cancel, Compensate        Compensate, payload null: the engine lacks the Do's result
//  ----------------  -------------------  ----------------  ------------------------  ----------------------------------------------------------
//  nothing           call                 error not-tried   write fence, ok  [1]      write fence, ok
//  begun, no answer  call again [4]       error not-tried   call, result unknown      call the Do again: ok -> its result as a reply of phase do,
//                                                                                       refused -> ok, else -> error
//  ok                the same reply       call              call                      the Do's result as a reply of phase do
//  refused           the same reply [4]   error not-tried   ok  [2]                   ok
//  fence             refused 'cancelled'  error             ok                        ok
//  confirm begun     the same reply       call again        error already-confirmed   -
//  confirmed         the same reply       the same reply    error already-confirmed   -
//  undo begun        the same reply [3]   error             call again                the Do's result, or error while that is unknown
//  undone            the same reply [3]   error             the same reply            the same reply
//
//  [1] the empty cancel: the handler never hears of it. The fence stays, however often a late Try runs into it.
//  [2] unless an attempt before the refused one ended without an answer: then call, for it may have left something.
//  [3] or refused 'cancelled' if it had none: the late Try.
//  [4] a refusal or a busy now says nothing of the run before, which may have taken effect: the reply says that it is in doubt, and the engine undoes the step.
//  An error and a busy are answered but not remembered (of a busy, that its run left nothing), nor is a refused second phase: the engine never gives those up, so each is asked anew.
internal sealed class Barrier(IBarrierStore store, TimeProvider time)
{
    public async ValueTask<ReplyItem> HandleAsync(CommandItem item, CommandHandler handler, IReadOnlyDictionary<string, CommandHandler> handlers, CancellationToken cancel)
    {
        if (item.Phase == Phase.Check) return await handler.CallAsync(item, null, cancel);   // it changes nothing
        BarrierRow? row;
        try
        {
            row = await store.FindAsync(item.Saga, item.Step, CancellationToken.None);
        }
        catch (BusyException e)
        {
            return item.Reply(Outcome.Busy) with { Message = e.Message, RetryAfter = e.RetryAfter };
        }
        try
        {
            return item.Phase switch
            {
                Phase.Try or Phase.Do => await ForwardAsync(row, item, handler, cancel),
                Phase.Confirm => await ConfirmAsync(row, item, handler, cancel),
                Phase.Compensate when item.Payload.IsNull => await LearnAsync(row, item, handlers, cancel),
                _ => await UndoAsync(row, item, handler, cancel),
            };
        }
        finally
        {
            await store.LeaveAsync(item.Saga, item.Step);
        }
    }

    private async ValueTask<ReplyItem> ForwardAsync(BarrierRow? row, CommandItem item, CommandHandler handler, CancellationToken cancel)
    {
        if (row is { Forward: BarrierForward.Ok }) return item.Ok(row.Result);
        if (row is { Forward: BarrierForward.Refused }) return item.Refused(row.Code, row.Message) with { InDoubt = row.InDoubt };
        if (row is { Second: not null }) return item.Refused("cancelled", $"Step '{item.Step}' of saga '{item.Saga}' was {(row.IsDo ? "compensated" : "cancelled")} before this {item.Phase.Word()} arrived. Nothing was done.");

        var isDo = item.Phase == Phase.Do;
        var inDoubt = row is { InDoubt: true };
        // Written again though it is known to have begun: a note that the run before could not make durable (say, of its refusal) may be on the disk all the
        // same, and must not come up after a crash as the last word on a run that came later.
        var begun = await WriteAsync(inDoubt ? row! : new BarrierRow(item.Saga, item.Step)
        {
            Forward = BarrierForward.Started,
            IsDo = isDo,
            InDoubt = true,
            Command = isDo ? item.Command : null,
            CommandPayload = isDo ? item.Payload : null,
        });
        var reply = await handler.CallAsync(item, null, cancel);
        if (reply.Outcome == Outcome.Ok)
            await WriteAsync(begun with { Forward = BarrierForward.Ok, Result = reply.Payload, InDoubt = false, Command = null, CommandPayload = null });
        else if (reply.Outcome == Outcome.Refused)
            await WriteAsync(begun with { Forward = BarrierForward.Refused, Code = reply.Code, Message = reply.Message, InDoubt = inDoubt, Command = null, CommandPayload = null });
        else if (reply.Outcome == Outcome.Busy && !inDoubt)
        {
            try
            {
                await WriteAsync(begun with { InDoubt = false });   // this run left nothing
            }
            catch (Exception)
            {
                inDoubt = true;   // the row still says that it may have: so must the reply
            }
        }
        return inDoubt && reply.Outcome is Outcome.Refused or Outcome.Busy ? reply with { InDoubt = true } : reply;
    }

    private async ValueTask<ReplyItem> ConfirmAsync(BarrierRow? row, CommandItem item, CommandHandler handler, CancellationToken cancel) => row switch
    {
        { Second: Phase.Confirm, SecondDone: true } => item.Ok(row.SecondResult),
        { Second: Phase.Cancel or Phase.Compensate } => item.Error("already-cancelled", $"Step '{item.Step}' of saga '{item.Saga}' was cancelled here, so it cannot be confirmed. Nothing was done; look into the saga's history."),
        { Forward: BarrierForward.Ok } => await SecondAsync(row, item, handler, cancel),
        _ => item.Error("not-tried", $"Step '{item.Step}' of saga '{item.Saga}' has no successful try here, so it cannot be confirmed. Nothing was done; was the participant's barrier lost (UseFileBarrier keeps it)?"),
    };

    private async ValueTask<ReplyItem> UndoAsync(BarrierRow? row, CommandItem item, CommandHandler handler, CancellationToken cancel) => row switch
    {
        null => await FenceAsync(item),
        { Second: Phase.Confirm } => Confirmed(item),
        { SecondDone: true } => item.Ok(row.SecondResult),
        { Forward: BarrierForward.Refused, InDoubt: false } => item.Ok(),
        _ => await SecondAsync(row, item, handler, cancel),
    };

    private async ValueTask<ReplyItem> LearnAsync(BarrierRow? row, CommandItem item, IReadOnlyDictionary<string, CommandHandler> handlers, CancellationToken cancel)
    {
        if (row is null) return await FenceAsync(item);
        if (row.Second == Phase.Confirm) return Confirmed(item);
        if (row.SecondDone) return item.Ok(row.SecondResult);
        if (row.Forward == BarrierForward.Refused) return item.Ok();
        var first = item with { Phase = Phase.Do, Command = row.Command ?? "", Key = Wire.Key(item.Saga, item.Step, Phase.Do), Payload = row.CommandPayload ?? Payload.Null };
        if (row.Forward == BarrierForward.Ok) return first.Ok(row.Result);
        if (row.Second is not null || !handlers.TryGetValue(first.Command, out var handler))
            return item.Error("result-unknown", $"What step '{item.Step}' of saga '{item.Saga}' did is not known here, and its do cannot be asked again. Send the compensation's payload, or resolve the step.");
        var answer = await ForwardAsync(row, first, handler, cancel);
        return answer.Outcome switch
        {
            Outcome.Ok => answer,
            Outcome.Refused => item.Ok(),   // the row says refused now: fence enough
            _ => answer with { Phase = item.Phase, InDoubt = false },
        };
    }

    private async ValueTask<ReplyItem> SecondAsync(BarrierRow row, CommandItem item, CommandHandler handler, CancellationToken cancel)
    {
        if (row.Second is null) row = await WriteAsync(row with { Second = item.Phase });
        var reply = await handler.CallAsync(item, row.Result, cancel);
        if (reply.Outcome == Outcome.Ok)
            await WriteAsync(row with { SecondDone = true, SecondResult = reply.Payload, Command = null, CommandPayload = null });
        return reply;
    }

    private async ValueTask<ReplyItem> FenceAsync(CommandItem item)
    {
        await WriteAsync(new BarrierRow(item.Saga, item.Step) { IsDo = item.Phase == Phase.Compensate, Second = item.Phase, SecondDone = true });
        return item.Ok();
    }

    private static ReplyItem Confirmed(CommandItem item) => item.Error("already-confirmed",
        $"Step '{item.Step}' of saga '{item.Saga}' was confirmed here, or its confirm has begun, so it cannot be undone. Nothing was done; look into the saga's history.");

    // Never cut short by a deadline: a note half written helps nobody.
    private async ValueTask<BarrierRow> WriteAsync(BarrierRow row)
    {
        row = row with { At = time.GetUtcNow() };
        await store.WriteAsync(row, CancellationToken.None);
        return row;
    }
}
